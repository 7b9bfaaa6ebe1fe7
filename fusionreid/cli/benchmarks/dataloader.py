"""Measure how fast images are read and augmented.

    fusionreid benchmark dataloader [CONFIG] [--images DIR]

Prints one JSON line; see docs/speed.md. Images come from the config's training set, from a folder
(``--images``), or, where neither is there, from people rendered into a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import FUNCTIONS, init_default_scope
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import transforms

from fusionreid.cli.extraction import find_images
from fusionreid.cli.option_actions import OptionAction
from fusionreid.config import config_folder, merge_options, read_config
from fusionreid.datasets.people_table import COLUMNS
from fusionreid.datasets.samplers import SampleIndex
from fusionreid.datasets.synthetic import SyntheticConfig, render_data_set
from fusionreid.errors import ConfigError
from fusionreid.registry import DATASETS
from fusionreid.utils.csv_table import write_csv

from .records import Record, print_records

# Seconds that the clock of the processor counts in.
TICK = 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'config',
        nargs='?',
        default=str(config_folder() / '_base_' / 'datasets' / 'reid.py'),
        help='config file',
    )
    parser.add_argument('--images', metavar='DIR', help='read the images below this folder')
    parser.add_argument('--data-root', help="folder of the data set; the config's own otherwise")
    parser.add_argument('--workers', type=int, help="loader processes; the config's otherwise")
    parser.add_argument('--batch-size', type=int, help="images per batch; the config's otherwise")
    parser.add_argument(
        '--batches',
        type=int,
        default=20,
        help='batches of each round that are timed, rounded up to a multiple of the workers',
    )
    parser.add_argument('--rounds', type=int, default=2, help='rounds that are timed, after one')
    parser.add_argument(
        '--torchvision',
        action='store_true',
        help="also run torchvision's PIL pipeline on the same images, in turns",
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        help='overrides, e.g. train_dataloader.dataset.cache_images=True',
    )


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together, and fill in what follows from others."""
    for name, least in (('batch_size', 1), ('batches', 1), ('rounds', 1), ('workers', 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            parser.error(f'--{name.replace("_", "-")} must be at least {least}, got {value}')


class SeededDraws(Sampler):
    """A fixed number of images in random order, each with a seed, as the PK sampler gives them.

    Args:
        images: Images of the data set.
        draws: Images to read; every image is drawn once before one is drawn again.
    """

    def __init__(self, images: int, draws: int) -> None:
        generator = np.random.default_rng(0)
        rounds = -(-draws // images)
        order = np.concatenate([generator.permutation(images) for _ in range(rounds)])[:draws]
        self.indices = list(
            zip(order.tolist(), generator.integers(2**32, size=draws).tolist(), strict=True)
        )

    def __iter__(self) -> Iterator[SampleIndex]:
        return (SampleIndex(index, seed) for index, seed in self.indices)

    def __len__(self) -> int:
        return len(self.indices)


class TorchvisionDataset(Dataset[tuple[torch.Tensor, str]]):
    """Images prepared by torchvision and Pillow, as the published recipe has it.

    Everything is done in the worker, to normalized and erased float32.

    Args:
        paths: Image files.
        size: Height and width of the prepared images.
        padding: Pixels around an image, of which the crop takes its part.
    """

    def __init__(self, paths: list[str], size: tuple[int, int], padding: int) -> None:
        self.paths = paths
        self.transform = transforms.Compose(
            [
                transforms.Resize(size, transforms.InterpolationMode.BICUBIC),
                transforms.RandomHorizontalFlip(0.5),
                transforms.Pad(padding),
                transforms.RandomCrop(size),
                transforms.ToTensor(),
                transforms.Normalize([0.5] * 3, [0.5] * 3),
                transforms.RandomErasing(0.5, (0.02, 1 / 3), (0.3, 1 / 0.3), 'random'),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, str]:
        path = self.paths[index]
        return self.transform(Image.open(path).convert('RGB')), path


@dataclass
class Usage:
    """What some batches took.

    Args:
        images: Images read.
        timed_images: Those of them that were read by the clock.
        wall: Seconds on the clock, which starts when each worker has given a batch.
        processor: Seconds of processor time of all processes, workers included.
        speeds: Timed images a second of each round.
    """

    images: int = 0
    timed_images: int = 0
    wall: float = 0.0
    processor: float = 0.0
    speeds: list[float] = field(default_factory=list)

    def as_speeds(self) -> dict[str, Any]:
        """Return images a second, of each round too, and images a second of processor time."""
        return dict(
            images_per_s=round(self.timed_images / self.wall, 1),
            # A handful of images may be read within a tick of the processor's clock.
            images_per_s_per_core=round(self.images / max(self.processor, TICK), 1),
            speeds=self.speeds,
        )


def processor_seconds() -> float:
    """Processor time of this process and of those of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def run_loader(dataset: Any, settings: dict[str, Any], batches: int, usage: Usage) -> None:
    """Read some batches with fresh workers and add what it took.

    Args:
        dataset: What to read.
        settings: Arguments of the loader.
        batches: Batches to time, rounded up to a multiple of the workers.
        usage: What to add to.
    """
    # Workers give batches in turns and start together: what the others have ready when the first
    # batch arrives was made before, and in a last turn that is not full some would idle.
    untimed = max(1, settings['num_workers'])
    batches = untimed + -(-batches // untimed) * untimed
    draws = SeededDraws(len(dataset), batches * settings['batch_size'])
    before = processor_seconds()
    loader = DataLoader(dataset, sampler=draws, **settings)
    start, timed = 0.0, 0
    for index, batch in enumerate(loader, 1):
        size = len(batch['inputs'] if isinstance(batch, dict) else batch[0])
        usage.images += size
        if index > untimed:
            timed += size
        elif index == untimed:
            start = time.perf_counter()
    wall = time.perf_counter() - start
    usage.wall += wall
    usage.timed_images += timed
    usage.speeds.append(round(timed / wall, 1))
    del loader
    usage.processor += processor_seconds() - before


def build_dataset(cfg: Config, args: argparse.Namespace, folder: str) -> tuple[Any, str]:
    """Build the data set to read.

    Args:
        cfg: The config.
        args: The options.
        folder: Where images are rendered and lists written if need be.

    Returns:
        The data set and what it holds.
    """
    settings = cfg.train_dataloader.dataset
    root = args.data_root or settings.get('data_root')
    if args.images is None and 'type' in settings and root and Path(root).is_dir():
        return DATASETS.build({**settings, 'data_root': root}), settings.type
    if args.images is not None:
        images, kind = Path(args.images), 'folder'
    elif args.data_root:
        raise ConfigError(f'--data-root {args.data_root}: there is no such folder')
    else:
        small = SyntheticConfig(ids_train=24, ids_test=2, images_per_camera=3)
        images, kind = Path(folder) / 'rendered', f'rendered {small.height}x{small.width}'
        render_data_set(images, small, workers=1)
    table = Path(folder) / 'images.csv'
    rows = [(path, 0, 0, 'train') for path in find_images(images)]
    table.write_bytes(write_csv([COLUMNS, *rows]))
    kept = ('pipeline', 'cache_images', 'cache_limit_gib')
    shared = {key: settings[key] for key in kept if key in settings}
    dataset = dict(type='CsvDataset', data_root=folder, ann_file=str(table), split='train')
    return DATASETS.build({**shared, **dataset}), kind


def _find_step(pipeline: list[dict], key: str, default: Any) -> Any:
    """Return a setting of the first transform of a pipeline that has it."""
    return next((step[key] for step in pipeline if key in step), default)


def measure(args: argparse.Namespace) -> Iterator[Record]:
    """Measure as the arguments say.

    Yields:
        The figures.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield _read_images(args, folder)


def _read_images(args: argparse.Namespace, folder: str) -> Record:
    cfg = read_config(args.config)
    if args.cfg_options:
        merge_options(cfg, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'fusionreid'))
    # What a core can do: torch's threads would take the other cores for the same image.
    torch.set_num_threads(1)
    dataset, kind = build_dataset(cfg, args, folder)
    loader = cfg.train_dataloader
    workers = loader.num_workers if args.workers is None else args.workers
    settings = dict(
        batch_size=args.batch_size or loader.batch_size,
        num_workers=workers,
        pin_memory=bool(loader.get('pin_memory')) and torch.cuda.is_available(),
    )
    ours = {**settings, 'collate_fn': FUNCTIONS.get(loader.collate_fn['type'])}
    pipeline = loader.dataset.pipeline
    size = tuple(_find_step(pipeline, 'scale', (128, 256)))[::-1]
    usage, torchvision_usage = Usage(), Usage()
    if args.torchvision:
        paths = [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]
        theirs = TorchvisionDataset(paths, size, _find_step(pipeline, 'padding', 10))
    for round_ in range(args.rounds + 1):
        # The first round fills caches and is not counted.
        counted = (usage, torchvision_usage) if round_ else (Usage(), Usage())
        run_loader(dataset, ours, args.batches, counted[0])
        if args.torchvision:
            run_loader(theirs, settings, args.batches, counted[1])
    result = dict(
        config=Path(args.config).stem,
        images=kind,
        input_size=size,
        batch_size=settings['batch_size'],
        workers=workers,
        cache_images=bool(loader.dataset.get('cache_images')),
        **usage.as_speeds(),
    )
    if args.torchvision:
        speeds = torchvision_usage.as_speeds()
        result.update({f'torchvision_{name}': value for name, value in speeds.items()})
        key = 'images_per_s_per_core'
        result['ratio'] = round(result['images_per_s'] / speeds['images_per_s'], 2)
        result['ratio_per_core'] = round(result[key] / speeds[key], 2)
    return result


def run(args: argparse.Namespace) -> None:
    """Print the figures."""
    print_records(measure(args))
