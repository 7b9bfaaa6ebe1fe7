"""Measure the speed, the memory and the effect of k-reciprocal re-ranking.

    fusionreid benchmark reranking --scale market

Prints one JSON line for each method. Features are seeded, with as many identities, cameras and
distractors as the data set of that scale; no image is needed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionreid.evaluation.functional import (
    RankingResult,
    evaluate_distances,
    evaluate_ranking,
    k_reciprocal_rerank,
    reranked_blocks,
)
from fusionreid.evaluation.functional.reranking import (
    DEFAULT_K1,
    DEFAULT_K2,
    DEFAULT_LAMBDA_VALUE,
    DEFAULT_RERANKING_MEMORY_LIMIT,
)
from fusionreid.evaluation.scoring_errors import scoring_errors
from fusionreid.utils.device import find_device
from fusionreid.utils.progress import Progress

from ..arguments import positive
from .instruments import PeakMemory
from .ranking import SCALES, make_features, timed
from .records import Record, print_records


def _plain_rerank(query: Tensor, gallery: Tensor, k1: int, k2: int, lambda_value: float) -> Tensor:
    """The formula with dense N x N matrices, float32 distances and float16 encodings."""
    points = torch.cat([query, gallery])
    total, num_query, half = len(points), len(query), round(k1 / 2)
    squared = torch.cdist(points, points).square_()
    distances = (squared / squared.amax(1, keepdim=True)).numpy()
    near = distances.argsort(axis=1)[:, : max(k1 + 1, k2)]

    def reciprocal(point: int, k: int) -> np.ndarray:
        mine = near[point, : k + 1]
        return mine[(near[mine, : k + 1] == point).any(1)]

    encoding = np.zeros((total, total), np.float16)
    for point in range(total):
        core = reciprocal(point, k1)
        chosen = core
        for other in core:
            theirs = reciprocal(other, half)
            if 3 * np.isin(theirs, core).sum() > 2 * len(theirs):
                chosen = np.union1d(chosen, theirs)
        weight = np.exp(-distances[point, chosen])
        encoding[point, chosen] = weight / weight.sum()
    encoding = np.stack([encoding[near[point, :k2]].mean(0) for point in range(total)])
    holders = [column.nonzero()[0] for column in np.ascontiguousarray(encoding.T)]
    result = np.empty((num_query, total - num_query), np.float32)
    for row in range(num_query):
        overlap = np.zeros(total, np.float16)
        for column in encoding[row].nonzero()[0]:
            rows = holders[column]
            overlap[rows] += np.minimum(encoding[row, column], encoding[rows, column])
        jaccard = 1 - overlap / (2 - overlap)
        mixed = (1 - lambda_value) * jaccard + lambda_value * distances[row]
        result[row] = mixed[num_query:]
    return torch.from_numpy(result)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('--scale', choices=SCALES, default='market')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--dim', type=int, default=768, help='feature width')
    parser.add_argument('--dtype', default='float32', choices=('float16', 'float32', 'float64'))
    parser.add_argument('--k1', type=int, default=DEFAULT_K1)
    parser.add_argument('--k2', type=int, default=DEFAULT_K2)
    parser.add_argument('--lambda-value', type=float, default=DEFAULT_LAMBDA_VALUE)
    parser.add_argument(
        '--memory-limit', type=int, default=DEFAULT_RERANKING_MEMORY_LIMIT, help='bytes'
    )
    parser.add_argument(
        '--repeats', type=positive, default=1, help='the fastest of so many runs counts'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--progress', action='store_true', help='show how far it is on stderr')
    parser.add_argument(
        '--dense', action='store_true', help='also make the whole matrix of distances'
    )
    parser.add_argument(
        '--plain',
        action='store_true',
        help='also the plain formula with dense matrices, on the CPU; 20 bytes and more for each '
        'pair of images',
    )


def measure(args: argparse.Namespace) -> Iterator[Record]:
    """Measure as the arguments say.

    Yields:
        The figures of each method.
    """
    device = find_device(args.device)
    made = make_features(args.scale, args.dim, args.seed)
    data: dict[str, Any] = {name: tensor.to(device) for name, tensor in made.items()}
    pair = [
        data.pop(name).to(getattr(torch, args.dtype))
        for name in ('query_features', 'gallery_features')
    ]
    numbers = {'k1': args.k1, 'k2': args.k2, 'lambda_value': args.lambda_value}
    options = {
        **numbers,
        'memory_limit': args.memory_limit,
        'progress': Progress if args.progress else None,
    }
    before = evaluate_ranking(*pair, **data)
    seconds: dict[str, float] = {}

    def measure_method(method: str, work: Callable[[], Any]) -> Record:
        """The figures of work that gives distances or their score."""
        runs, peaks = [], []
        busy = time.process_time()
        for _ in range(args.repeats):
            with PeakMemory(device) as peak:
                took, result = timed(work, device)
            runs.append(took)
            peaks.append(peak.bytes)
        busy = (time.process_time() - busy) / args.repeats
        seconds[method] = min(runs)
        if not isinstance(result, RankingResult):
            labels = {name: labels.to(result.device) for name, labels in data.items()}
            result = evaluate_distances(result, **labels)
        record = {
            'method': method,
            'scale': args.scale,
            'queries': len(pair[0]),
            'gallery': len(pair[1]),
            'dim': args.dim,
            'dtype': args.dtype,
            'device': device.type,
            'threads': torch.get_num_threads(),
            **numbers,
            'seconds': round(seconds[method], 3),
            'runs': [round(took, 3) for took in runs],
            # What a machine that has other work to do would need on its own, over its cores.
            'cpu_seconds': round(busy, 3),
            'peak_memory_gib': round(max(peaks) / 2**30, 3),
            'memory_limit_gib': round(args.memory_limit / 2**30, 3),
            'mAP_before': round(before.mAP, 4),
            'mAP_after': round(result.mAP, 4),
            'rank1_before': round(float(before.cmc[0]), 4),
            'rank1_after': round(float(result.cmc[0]), 4),
        }
        if method == 'plain':
            del record['memory_limit_gib']
            name = 'k_reciprocal_rerank' if args.dense else 'reranked_blocks'
            record['ratio'] = round(seconds[method] / seconds[name], 1)
        return record

    with scoring_errors():
        # Ranked as they come: no more than a block of distances is in memory.
        yield measure_method(
            'reranked_blocks',
            lambda: evaluate_distances(reranked_blocks(*pair, **options), **data),
        )
        if args.dense:
            yield measure_method(
                'k_reciprocal_rerank', lambda: k_reciprocal_rerank(*pair, **options)
            )
        if args.plain:
            on_cpu = [features.cpu().float() for features in pair]
            yield measure_method('plain', lambda: _plain_rerank(on_cpu[0], on_cpu[1], **numbers))


def run(args: argparse.Namespace) -> None:
    """Print the figures."""
    print_records(measure(args))
