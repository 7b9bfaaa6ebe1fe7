"""What the benchmarks of training and of extraction share: options, model, batches, the report."""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from fusionreid.config import merge_options, open_counts, read_config
from fusionreid.errors import ConfigError
from fusionreid.models import plain_computation
from fusionreid.models.complexity import measure_complexity
from fusionreid.registry import MODELS
from fusionreid.structures import ReIDDataSample
from fusionreid.utils.device import find_device

from ..option_actions import OptionAction
from .instruments import PeakMemory, PhaseTimer, matrix_product_rate, synchronize

DTYPES = dict(fp32=torch.float32, fp16=torch.float16, bf16=torch.bfloat16)
GIB = 2**30
# Batches that take turns; enough that none is in a cache when its turn comes.
DISTINCT_BATCHES = 4


def add_speed_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a speed benchmark of a model."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='cuda, cuda:1, cpu'
    )
    parser.add_argument('--batch-size', type=int, help="images per step; the config's otherwise")
    parser.add_argument(
        '--precision',
        choices=DTYPES,
        help="fp32, or mixed with fp16 or bf16; the config's own for training and fp32 for "
        'extraction otherwise',
    )
    parser.add_argument('--compile', action='store_true', help='compile the model')
    parser.add_argument('--steps', type=int, default=20, help='steps that are timed')
    parser.add_argument('--warmup', type=int, default=3, help='steps before them')
    parser.add_argument(
        '--rounds', type=int, default=1, help='repeat all of it, in turns with --plain'
    )
    parser.add_argument(
        '--plain',
        action='store_true',
        help='also run the same model without anything that makes it faster',
    )
    parser.add_argument(
        '--data',
        action='store_true',
        help="batches of the config's data loader; made-up ones in the host's memory otherwise",
    )
    parser.add_argument('--data-root', help="folder of the data set; the config's own otherwise")
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        help="overrides, e.g. model.channels_last=True 'input_size=(384,128)'",
    )


@dataclass
class SpeedRun:
    """A model on its device with its batches, ready to be timed.

    Args:
        cfg: The config.
        args: Options of :func:`add_speed_arguments`.
        loader: Name of the loader in the config that gives batch size and, with ``--data``, the
            batches.

    Raises:
        ConfigError: If options and config contradict each other or the device is unknown or not
            there.
    """

    cfg: Config
    args: argparse.Namespace
    loader: str

    def __post_init__(self) -> None:
        cfg, args = self.cfg, self.args
        init_default_scope(cfg.get('default_scope', 'fusionreid'))
        torch.manual_seed(0)
        self.device = find_device(args.device)
        precision = args.precision
        if precision is None:
            trains = self.loader == 'train_dataloader'
            precision = training_precision(cfg) if trains else 'fp32'
        # As in training, a CPU's half precision is bfloat16.
        on_cpu = self.device.type == 'cpu'
        self.precision = 'bf16' if on_cpu and precision == 'fp16' else precision
        self.dtype = DTYPES[self.precision]
        torch.backends.cudnn.benchmark = bool(cfg.get('env_cfg', {}).get('cudnn_benchmark'))
        self.batch_size = args.batch_size or cfg[self.loader].batch_size
        self.input_size = tuple(cfg.input_size)
        self.model = MODELS.build(cfg.model).to(self.device)
        self._batches = self._load() if args.data else self._make_up()

    def count_gflop(self) -> float:
        """Count the operations of one image's forward pass, in 1e9, two per multiply-add.

        Convolutions and linear layers count, as in the paper. Leaves the model in evaluation mode.
        """
        return 2 * measure_complexity(self.model, self.input_size)['total'].macs / 1e9

    def next_batch(self) -> dict:
        """Return the next batch, as a data loader gives it."""
        return next(self._batches)

    def autocast(self) -> AbstractContextManager:
        """Mixed precision, or none."""
        if self.precision == 'fp32':
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def time(self, step: Callable[[PhaseTimer], Any]) -> dict[str, Any]:
        """Time a step.

        Args:
            step: One step, which takes its batch from :meth:`next_batch`.

        Returns:
            ``images_per_s``, ``peak_gib`` and ``ms_per_step`` by phase.
        """
        for _ in range(self.args.warmup):
            step(PhaseTimer(self.device))
        timer = PhaseTimer(self.device)
        with PeakMemory(self.device) as peak:
            synchronize(self.device)
            start = time.perf_counter()
            for _ in range(self.args.steps):
                step(timer)
            synchronize(self.device)
            seconds = time.perf_counter() - start
        steps = self.args.steps
        return dict(
            images_per_s=round(self.batch_size * steps / seconds, 3),
            peak_gib=round(peak.peak / GIB, 3),
            ms_per_step={
                name: round(1e3 * value / steps, 3) for name, value in timer.seconds().items()
            },
        )

    def report(
        self,
        forward_passes: int,
        build_step: Callable[[bool], Callable[[PhaseTimer], Any]],
    ) -> dict[str, Any]:
        """Time the model, and with ``--plain`` once more without what makes it faster.

        Args:
            forward_passes: Forward passes that a step costs as much as: 3 for training, since a
                backward pass multiplies twice as much.
            build_step: Makes the step, told whether it is the plain one.

        Returns:
            What the tools print.
        """
        gflop = forward_passes * self.count_gflop()
        ceiling = matrix_product_rate(self.device, self.dtype)
        rounds, plain_rounds = [], []
        for _ in range(self.args.rounds):
            rounds.append(self.time(build_step(False)))
            if self.args.plain:
                with plain_computation(self.model):
                    plain_rounds.append(self.time(build_step(True)))
        result = median_round(rounds)
        result = dict(
            config=Path(self.cfg.filename).stem,
            device=device_name(self.device),
            threads=torch.get_num_threads(),
            precision=self.precision,
            compile=bool(self.cfg.model.get('compile')),
            channels_last=bool(self.cfg.model.get('channels_last')),
            data=self.loader if self.args.data else 'made up',
            batch_size=self.batch_size,
            input_size=self.input_size,
            steps=self.args.steps,
            rounds=self.args.rounds,
            gflop_per_image=round(gflop, 3),
            ceiling_tflops=round(ceiling / 1e12, 3),
            share_of_ceiling=round(result['images_per_s'] * gflop * 1e9 / ceiling, 4),
            **result,
            speeds=[each['images_per_s'] for each in rounds],
        )
        if plain_rounds:
            plain = median_round(plain_rounds)
            result.update({f'plain_{name}': value for name, value in plain.items()})
            # Round by round, since the speed of a shared machine drifts.
            ratios = [
                ours['images_per_s'] / theirs['images_per_s']
                for ours, theirs in zip(rounds, plain_rounds, strict=True)
            ]
            result['ratio'] = round(statistics.median(ratios), 3)
            result['ratios'] = [round(ratio, 3) for ratio in ratios]
        return result

    def _make_up(self) -> Iterator[dict]:
        generator = torch.Generator().manual_seed(0)
        classes = self.model.num_classes or 1
        batches = []
        for _ in range(DISTINCT_BATCHES):
            images = torch.randint(
                256, (self.batch_size, 3, *self.input_size), generator=generator, dtype=torch.uint8
            )
            if self.device.type == 'cuda':
                images = images.pin_memory()
            samples = [
                ReIDDataSample(
                    metainfo=dict(
                        img_path=f'{index}.jpg',
                        # Pairs of images of one person, so that there are positives.
                        person_id=index // 2 % classes,
                        camera_id=index % max(self.model.num_cameras, 1),
                        role='query',
                        sample_idx=index,
                        augment_seed=index,
                    )
                )
                for index in range(self.batch_size)
            ]
            batches.append(dict(inputs=images, data_samples=samples))
        return itertools.cycle(batches)

    def _load(self) -> Iterator[dict]:
        loader_cfg = self.cfg[self.loader]
        if self.args.data_root:
            loader_cfg.dataset.data_root = self.args.data_root
        if self.batch_size != loader_cfg.batch_size:
            loader_cfg.batch_size = self.batch_size
            sampler = loader_cfg.sampler
            if 'ids_per_batch' in sampler:
                sampler.ids_per_batch, left = divmod(self.batch_size, sampler.instances_per_id)
                if left:
                    raise ConfigError(
                        f'--batch-size {self.batch_size} is no multiple of the '
                        f'{sampler.instances_per_id} images per identity'
                    )
        loader = Runner.build_dataloader(loader_cfg, seed=0)
        return self._loop(loader)

    def _loop(self, loader: Any) -> Iterator[dict]:
        for epoch in itertools.count():
            if hasattr(loader.sampler, 'set_epoch'):
                loader.sampler.set_epoch(epoch)
            full = 0
            for batch in loader:
                if len(batch['inputs']) == self.batch_size:
                    full += 1
                    yield batch
            if not full:
                raise ConfigError(
                    f'the data set has no full batch of {self.batch_size} images: give a smaller '
                    '--batch-size'
                )


def prepare(args: argparse.Namespace, loader: str) -> SpeedRun:
    """Read the config and build the model as the options say.

    Args:
        args: Options of :func:`add_speed_arguments`.
        loader: Name of the loader in the config.

    Raises:
        ConfigError: If something is missing or out of range.
    """
    for name in ('steps', 'rounds', 'batch_size'):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError(f'--{name.replace("_", "-")} must be at least 1, got {value}')
    if args.warmup < 0:
        raise ConfigError(f'--warmup must be at least 0, got {args.warmup}')
    find_device(args.device)
    cfg = read_config(args.config)
    if args.cfg_options:
        merge_options(cfg, args.cfg_options)
    if args.compile:
        cfg.model.compile = cfg.model.get('compile') or True
    missing = open_counts(cfg.model)
    if missing:
        raise ConfigError(
            f'the config leaves {" and ".join(missing)} to the training set: give '
            + ' '.join(['--cfg-options', *(f'{name}=100' for name in missing)])
        )
    return SpeedRun(cfg, args, loader)


def training_precision(cfg: Config) -> str:
    """Return the precision in which a config trains: ``'fp32'``, ``'fp16'`` or ``'bf16'``.

    Raises:
        ConfigError: If it is none of them.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    kind = wrapper.get('type', 'OptimWrapper')
    if not getattr(kind, '__name__', kind).endswith('AmpOptimWrapper'):
        return 'fp32'
    dtype = str(wrapper.get('dtype') or 'float16').removeprefix('torch.')
    for name, known in DTYPES.items():
        if str(known) == f'torch.{dtype}':
            return name
    raise ConfigError(
        f'optim_wrapper.dtype={dtype} is not measured: give --precision {", ".join(DTYPES)}'
    )


def median_round(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the round of median speed, with the peak memory of the first.

    A later round starts with memory that the process has not given back.
    """
    ordered = sorted(rounds, key=lambda result: result['images_per_s'])
    return {**ordered[(len(ordered) - 1) // 2], 'peak_gib': rounds[0]['peak_gib']}


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type
