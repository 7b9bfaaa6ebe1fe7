"""Measure the relevance maps of every feature on rendered people, whose silhouettes are known.

    fusionreid score-maps CHECKPOINT DATA_ROOT

DATA_ROOT is what ``fusionreid render`` made. Each pair is two photos, by two cameras, of a
person outside of the training set. The table says which share of the relevance lies on the person,
and how far the similarity falls when the most relevant tenth of a photo is hidden, or a tenth by
chance.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fusionreid.apis import FeatureExtractor
from fusionreid.apis.photos import load_photos
from fusionreid.datasets.synthetic import read_plan, render_silhouettes
from fusionreid.datasets.synthetic.layout import PlannedImage
from fusionreid.errors import ExplainError
from fusionreid.evaluation.feature_set import ALL
from fusionreid.explain import MapScores, score_maps
from fusionreid.explain.relevance import METHODS
from fusionreid.utils.tables import markdown_table

from .arguments import add_model_arguments, positive

DEFAULT_PAIRS = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('checkpoint', help='trained model')
    parser.add_argument('data_root', help='rendered data set')
    parser.add_argument(
        '--method',
        nargs='+',
        choices=METHODS,
        default=list(METHODS),
        help='how relevance is computed (default: all methods)',
    )
    parser.add_argument(
        '-n', '--pairs', type=positive, default=DEFAULT_PAIRS, help='pairs of photos, at most'
    )
    parser.add_argument('-o', '--out', type=Path, help='file of the table, e.g. maps.md')
    parser.add_argument('--batch-size', type=positive, default=32)
    add_model_arguments(parser)


def choose_pairs(data_root: str, count: int) -> list[tuple[PlannedImage, PlannedImage]]:
    """Pair photos of people outside of the training set, spread over the people.

    Args:
        data_root: Rendered data set.
        count: Pairs, at most.

    Returns:
        Two photos of one person by two cameras each.

    Raises:
        ExplainError: If no person is seen by two cameras.
    """
    photos: dict[int, dict[int, PlannedImage]] = defaultdict(dict)
    for image in read_plan(data_root).images:
        if image.person is not None and not image.misplaced and 'train' not in image.path:
            photos[image.person].setdefault(image.camera, image)
    rounds = []
    for by_camera in photos.values():
        seen = list(by_camera.values())
        rounds += [(step, left, right) for step, (left, right) in enumerate(pairwise(seen))]
    if not rounds:
        raise ExplainError(
            f'no person of {data_root} outside of its training set is seen by two cameras'
        )
    rounds.sort(key=lambda pair: pair[0])  # every person's first pair, then the second ones
    return [(left, right) for _, left, right in rounds[:count]]


def run(args: argparse.Namespace) -> None:
    """Show the table, and write it if wanted."""
    pairs = choose_pairs(args.data_root, args.pairs)
    extractor = FeatureExtractor(args.checkpoint, args.config, device=args.device, fold=False)
    names = [*extractor.torch_model.feature_widths, ALL]
    rows = [['feature', 'method', 'on the person', 'drop', 'random drop']]
    found: dict[tuple[str, str], list[MapScores]] = defaultdict(list)
    areas: list[float] = []
    for first in range(0, len(pairs), args.batch_size):
        lefts, rights = zip(*pairs[first : first + args.batch_size], strict=True)
        masks = _masks(args.data_root, lefts)
        areas += masks.mean((1, 2)).tolist()
        photos, others = (
            load_photos(
                extractor,
                [str(Path(args.data_root, photo.path)) for photo in side],
                [photo.camera for photo in side],
            )
            for side in (lefts, rights)
        )
        for method in args.method:
            scores = score_maps(
                extractor.torch_model,
                photos.images,
                others.images,
                masks,
                names,
                method,
                camera_ids=photos.camera_ids,
                other_camera_ids=others.camera_ids,
                seed=first,
            )
            for name, measured in scores.items():
                found[name, method].append(measured)
    for (name, method), parts in sorted(found.items(), key=lambda item: names.index(item[0][0])):
        on_person, drop, random_drop = (
            torch.cat([getattr(part, what) for part in parts]).nanmean().item()
            for what in ('on_person', 'drop', 'random_drop')
        )
        rows.append([name, method, f'{100 * on_person:.0f}%', f'{drop:.3f}', f'{random_drop:.3f}'])
    text = (
        f'{len(pairs)} pairs of photos; the person takes {100 * np.mean(areas):.0f}% of a photo.'
        f'\n\n{markdown_table(rows)}\n'
    )
    print(text, end='')
    if args.out:
        args.out.write_text(text)


def _masks(data_root: str, photos: tuple[PlannedImage, ...]) -> Tensor:
    """Masks of the persons, (B, H, W), from 0 to 1."""
    masks = render_silhouettes(data_root, [photo.path for photo in photos])
    return torch.from_numpy(np.stack([mask for _, mask in masks])).float() / 255
