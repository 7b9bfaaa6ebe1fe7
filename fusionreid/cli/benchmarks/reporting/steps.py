"""The steps of a report in the order of their worth, each a command that can be run alone."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from joblib import cpu_count

from fusionreid.cli.commands import COMMANDS

from ..golden_variants import VARIANTS

# Runtimes that a report measures, with the modules that each needs.
RUNTIMES = {'onnxruntime': ('onnx', 'onnxscript', 'onnxruntime'), 'openvino': ('openvino',)}
# Small, since exporting takes long.
RUNTIME_CONFIG = 'fusionreid_vittiny_r18_synthetic'
CHANNELS_LAST = ('--cfg-options', 'model.channels_last=True')
BATCH_SIZES = dict(cpu=4, cuda=128)
PAPER, *OTHERS = VARIANTS


@dataclass(frozen=True)
class Step:
    """A step of a report.

    Args:
        name: Its name.
        title: What it measures.
        argv: The command that measures it, as after ``fusionreid``; the command's name first.
        seconds: What it takes, with room: on two cores of a Xeon of 2023, or on an H100. With less
            time left it is not begun.
        lacks: Why it cannot be run here; empty if it can.
    """

    name: str
    title: str
    argv: tuple[str, ...]
    seconds: float
    lacks: str = ''

    @property
    def limit(self) -> float:
        """Seconds after which it is given up."""
        return max(5 * self.seconds, 90.0)


def measure_command(argv: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Measure what a command prints.

    Args:
        argv: Name of the command, and its arguments. Its module has a function ``measure(args)``
            that yields records.

    Yields:
        The records.

    Raises:
        SystemExit: The arguments are wrong.
    """
    module = COMMANDS[argv[0]].load()
    parser = argparse.ArgumentParser(prog=argv[0])
    module.add_arguments(parser)
    args = parser.parse_args(argv[1:])
    if hasattr(module, 'check_arguments'):
        module.check_arguments(args, parser)
    yield from module.measure(args)


def plan_steps(device: str, config: str, batch_size: int | None = None) -> list[Step]:
    """List the steps of a report.

    Args:
        device: Where they compute.
        config: Config of the model that is trained.
        batch_size: Images of a training step; None for what suits the device.

    Returns:
        The steps, what is worth most first.

    Example:
        >>> steps = plan_steps('cpu', 'r18_synthetic')
        >>> [step.name for step in steps[:2]], steps[1].argv[:2]
        (['machine', 'exactness_paper'], ('benchmark exactness', 'vitb12_r50_d2_shared_seu'))
    """
    is_gpu = device != 'cpu'
    batch = batch_size or BATCH_SIZES['cuda' if is_gpu else 'cpu']
    speed = _gpu_speed(device, config, batch) if is_gpu else _cpu_speed(config, batch)
    return [
        Step('machine', 'machine and versions', ('doctor',), 5),
        _golden(device, 'paper', "the paper's model", PAPER),
        _exactness(device, 'ranking', 'ranking and re-ranking', 'ranking', 8),
        _exactness(device, 'training', 'losses and a step of training', 'training', 5),
        *speed,
    ]


def _exactness(device: str, name: str, title: str, check: str, seconds: float) -> Step:
    argv = ('benchmark exactness', check, '--device', device)
    return Step(f'exactness_{name}', f'exactness: {title}', argv, seconds)


def _golden(device: str, name: str, title: str, variant: str) -> Step:
    seconds = 15 if device != 'cpu' else 25 if '_d2_' in variant else 15
    return _exactness(device, name, title, variant, seconds)


def _other_models(device: str) -> Iterator[Step]:
    return (_golden(device, variant, variant, variant) for variant in OTHERS)


def _model_step(
    kind: str, name: str, title: str, seconds: float, argv: tuple[str, ...], *options: str
) -> Step:
    return Step(f'{kind}_{name}', title, (f'benchmark {kind}', *argv, *options), seconds)


def _cpu_speed(config: str, batch: int) -> Iterator[Step]:
    common = (config, '--device', 'cpu', '--steps', '1', '--warmup', '1', '--rounds', '2')
    train = (*common, '--batch-size', str(batch))
    extract = (*common, '--batch-size', str(2 * batch))
    fp32, bf16 = ('--precision', 'fp32'), ('--precision', 'bf16')
    yield _model_step('train', 'fp32', 'training, fp32', 25, train, *fp32)
    yield _model_step('extract', 'fp32', 'extraction, fp32', 20, extract, *fp32)
    yield _model_step('train', 'bf16', 'training, bf16', 20, train, *bf16)
    yield _model_step('extract', 'bf16', 'extraction, bf16', 15, extract, *bf16)
    yield _loading()
    yield _ranking('ranking', 'market', 'cpu', 10, '--repeats', '3')
    yield _ranking('reranking', 'market', 'cpu', 20, '--repeats', '2')
    plain = (*fp32, '--plain')
    yield _model_step('train', 'plain', 'training, fp32, beside its plain form', 45, train, *plain)
    yield _model_step(
        'extract', 'plain', 'extraction, fp32, beside its plain form', 30, extract, *plain
    )
    yield from _other_models('cpu')
    yield _runtimes()
    yield _model_step(
        *('train', 'bf16_channels_last', 'training, bf16, channels-last', 20, train),
        *(*bf16, *CHANNELS_LAST),
    )
    yield _ranking('ranking', 'msmt17', 'cpu', 60, '--repeats', '2')
    yield _ranking('reranking', 'msmt17', 'cpu', 130)
    yield _model_step('extract', 'compiled', 'extraction, compiled', 400, extract, '--compile')
    yield _model_step('train', 'compiled', 'training, compiled', 600, train, *fp32, '--compile')


def _gpu_speed(device: str, config: str, batch: int) -> Iterator[Step]:
    common = (config, '--device', device, '--steps', '10', '--warmup', '5', '--rounds', '3')
    train = (*common, '--batch-size', str(batch))
    extract = (*common, '--batch-size', str(2 * batch))
    fp32, fp16, bf16 = (('--precision', name) for name in ('fp32', 'fp16', 'bf16'))
    yield _model_step(
        *('train', 'bf16_channels_last', 'training, bf16, channels-last', 50, train),
        *(*bf16, '--plain', *CHANNELS_LAST),
    )
    yield _model_step(
        *('extract', 'bf16_channels_last', 'extraction, bf16, channels-last', 40, extract),
        *(*bf16, '--plain', *CHANNELS_LAST),
    )
    yield _ranking('ranking', 'msmt17', device, 20, '--repeats', '3')
    yield _model_step(
        *('train', 'compiled', 'training, bf16, channels-last, compiled', 110, train),
        *(*bf16, '--compile', *CHANNELS_LAST),
    )
    yield _model_step('train', 'fp16', 'training, fp16 with loss scaling', 25, train, *fp16)
    yield _model_step('train', 'bf16', 'training, bf16', 25, train, *bf16)
    yield _ranking('reranking', 'msmt17', device, 40)
    yield from _other_models(device)
    yield _loading()
    yield _model_step(
        *('extract', 'compiled', 'extraction, bf16, channels-last, compiled', 70, extract),
        *(*bf16, '--compile', *CHANNELS_LAST),
    )
    yield _model_step('train', 'fp32', 'training, fp32', 40, train, *fp32)
    yield _model_step('extract', 'fp32', 'extraction, fp32', 20, extract, *fp32)
    yield _ranking('ranking', 'market', device, 10, '--repeats', '3')
    yield _ranking('reranking', 'market', device, 15, '--repeats', '3')
    yield _runtimes()


def _loading() -> Step:
    argv = ('benchmark dataloader', '--workers', str(cpu_count()), '--batch-size', '32')
    title = 'data loading, a worker on each core'
    return Step('dataloader', title, (*argv, '--batches', '12', '--torchvision'), 25)


def _ranking(kind: str, scale: str, device: str, seconds: float, *options: str) -> Step:
    title = f'{"re-ranking" if kind == "reranking" else kind}, as large as {_SETS[scale]}'
    argv = (f'benchmark {kind}', '--scale', scale, '--device', device, *options)
    return Step(f'{kind}_{scale}', title, argv, seconds)


_SETS = dict(market='Market-1501', msmt17='MSMT17')


def _runtimes() -> Step:
    installed = [name for name, modules in RUNTIMES.items() if all(map(find_spec, modules))]
    argv = ('benchmark runtimes', RUNTIME_CONFIG, '--runtimes', 'pytorch', *installed)
    options = ('--precisions', 'fp32', 'bf16', '--batch-sizes', '1', '32', '--rounds', '5')
    lacks = '' if installed else 'neither ONNX Runtime nor OpenVINO is installed'
    return Step('runtimes', 'runtimes of exported models', (*argv, *options), 60, lacks)
