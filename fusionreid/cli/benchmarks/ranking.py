"""Measure the speed and memory of ranking against the bare matrix product.

    fusionreid benchmark ranking --scale market

Prints one JSON line. Features are seeded, with as many identities, cameras and distractors as the
data set of that scale; no image is needed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from fusionreid.cli.benchmarks.instruments import PeakMemory
from fusionreid.evaluation.functional import evaluate_ranking
from fusionreid.evaluation.functional.memory import DEFAULT_MEMORY_LIMIT
from fusionreid.utils.device import find_device

from .records import Record, print_records

# queries, gallery, identities, cameras, share of distractors in the gallery
SCALES = {
    'tiny': (200, 1_000, 40, 4, 0.2),
    'small': (800, 4_000, 160, 6, 0.2),
    'market': (3_368, 15_913, 750, 6, 0.18),
    'msmt17': (11_659, 82_161, 3_060, 15, 0.0),
}
BLOCK_ROWS = 2048


def make_features(scale: str, dim: int, seed: int) -> dict[str, Tensor]:
    """Make L2-normalized features of people seen by cameras.

    Identity, camera and view each leave a mark. Distractors have the identity 0.

    Args:
        scale: Numbers of images, identities and cameras, a key of ``SCALES``.
        dim: Feature width D.
        seed: Seed of everything that is drawn.

    Returns:
        Arguments of :func:`~fusionreid.evaluation.functional.evaluate_ranking`: features of
        queries (Q, D) and gallery (G, D) in float32, and their identities and 0-based cameras.

    Example:
        >>> made = make_features('tiny', dim=8, seed=0)
        >>> tuple(made['query_features'].shape), tuple(made['gallery_ids'].shape)
        ((200, 8), (1000,))
    """
    num_query, num_gallery, num_ids, num_cameras, distractors = SCALES[scale]
    random = torch.Generator().manual_seed(seed)
    total = num_query + num_gallery
    ids = torch.randint(1, num_ids + 1, (total,), generator=random)
    is_distractor = torch.rand(total, generator=random) < distractors
    ids[num_query:][is_distractor[num_query:]] = 0
    cameras = torch.randint(num_cameras, (total,), generator=random)
    identity = torch.randn(num_ids + 1, dim, generator=random)
    camera = torch.randn(num_cameras, dim, generator=random) * 0.25
    # Some photos are far harder than others, as in the real sets.
    hardness = 0.9 + 1.6 * torch.rand(total, 1, generator=random) ** 2
    features = torch.randn(total, dim, generator=random).mul_(hardness)
    features += camera[cameras]
    features += torch.where(ids[:, None] > 0, identity[ids], 0) * 0.6
    features = torch.nn.functional.normalize(features)
    return {
        'query_features': features[:num_query],
        'gallery_features': features[num_query:],
        'query_ids': ids[:num_query],
        'gallery_ids': ids[num_query:],
        'query_cameras': cameras[:num_query],
        'gallery_cameras': cameras[num_query:],
    }


def _matrix_product(query: Tensor, gallery: Tensor) -> None:
    """Every inner product of queries and gallery, a block of rows at a time, thrown away."""
    out = query.new_empty(min(BLOCK_ROWS, len(query)), len(gallery))
    for start in range(0, len(query), BLOCK_ROWS):
        part = query[start : start + BLOCK_ROWS]
        torch.mm(part, gallery.T, out=out[: len(part)])


def timed(work: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Measure the time of one call, to the end of what it starts on a GPU.

    Args:
        work: Function to call.
        device: Where it works.

    Returns:
        Seconds, and what the function returned.
    """
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    result = work()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter() - start, result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('--scale', choices=SCALES, default='market')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--dim', type=int, default=768, help='feature width')
    parser.add_argument('--dtype', default='float32', choices=('float16', 'float32', 'float64'))
    parser.add_argument('--memory-limit', type=int, default=DEFAULT_MEMORY_LIMIT, help='bytes')
    parser.add_argument('--repeats', type=int, default=3, help='the fastest of so many runs counts')
    parser.add_argument('--seed', type=int, default=0)


def measure(args: argparse.Namespace) -> Iterator[Record]:
    """Measure as the arguments say.

    Yields:
        The figures.
    """
    device = find_device(args.device)
    made = make_features(args.scale, args.dim, args.seed)
    data: dict[str, Any] = {name: tensor.to(device) for name, tensor in made.items()}
    for name in ('query_features', 'gallery_features'):
        data[name] = data[name].to(getattr(torch, args.dtype))
    pair = data['query_features'], data['gallery_features']

    # Warm up threads and libraries on a corner of the data.
    _matrix_product(pair[0][:64], pair[1][:4096])
    products, totals, peaks = [], [], []
    for _ in range(args.repeats):
        products.append(timed(lambda: _matrix_product(*pair), device)[0])
        with PeakMemory(device) as peak:
            seconds, result = timed(
                lambda: evaluate_ranking(**data, memory_limit=args.memory_limit), device
            )
        totals.append(seconds)
        peaks.append(peak.bytes)
    yield {
        'method': 'evaluate_ranking',
        'scale': args.scale,
        'queries': len(pair[0]),
        'gallery': len(pair[1]),
        'dim': args.dim,
        'dtype': args.dtype,
        'device': device.type,
        'threads': torch.get_num_threads(),
        'product_seconds': round(min(products), 3),
        'seconds': round(min(totals), 3),
        'runs': [round(seconds, 4) for seconds in totals],
        'ratio': round(min(totals) / min(products), 2),
        'ratios': [round(ours / bare, 3) for ours, bare in zip(totals, products, strict=True)],
        'peak_memory_mib': round(max(peaks) / 2**20, 1),
        'memory_limit_mib': round(args.memory_limit / 2**20, 1),
        'mAP': round(result.mAP, 4),
        'rank1': round(float(result.cmc[0]), 4),
        'mINP': round(result.mINP, 4),
    }


def run(args: argparse.Namespace) -> None:
    """Print the figures."""
    print_records(measure(args))
