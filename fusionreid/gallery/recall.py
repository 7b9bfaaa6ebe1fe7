"""How many of the nearest items an engine finds, against an exact search."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fusionreid.errors import GalleryError
from fusionreid.evaluation.functional import top_k
from fusionreid.utils.integers import as_integer

from .engines import SearchEngine
from .filter import GalleryFilter
from .search_result import GallerySearchResult

# Distances that agree to this are the same when recall is measured; Milvus computes in float32.
RECALL_TOLERANCE = 1e-4


def measure_recall(engine: SearchEngine, k: int, sample: int, seed: int) -> float:
    """Compare an engine with an exact search, as :meth:`Gallery.measure_recall` describes.

    Args:
        engine: The engine, with items.
        k: Answers for each query besides itself.
        sample: Number of queries, all items if there are fewer.
        seed: Seed of their choice.

    Returns:
        Mean share of right answers, in [0, 1].

    Raises:
        GalleryError: If there are no k items besides the query, or the sample has none.
    """
    size = len(engine)
    if not 1 <= as_integer(k, 'k', GalleryError) < size:
        raise GalleryError(f'k={k} is outside 1..{size - 1}, the size of the gallery less one')
    if as_integer(sample, 'sample', GalleryError) < 1:
        raise GalleryError(f'sample must be at least 1, got {sample}')
    rows = np.sort(np.random.default_rng(seed).choice(size, min(sample, size), replace=False))
    right = _count_right(engine, _features_at(engine, rows), k + 1)
    # The query itself is one of the k + 1 nearest, and always found when anything is.
    return float(((right - 1).clamp_min(0) / k).mean())


def measure_recall_of(engine: SearchEngine, queries: Tensor, k: int) -> float:
    """Compare an engine with an exact search, for queries that are no items.

    Items may be too easy: a graph of neighbors links each with those that are to be found.

    Args:
        engine: The engine, with items.
        queries: Features (Q, D), L2-normalized.
        k: Answers for each query.

    Returns:
        Mean share of right answers, in [0, 1].
    """
    return float((_count_right(engine, queries, k) / k).mean())


def _count_right(engine: SearchEngine, queries: Tensor, k: int) -> Tensor:
    """How many of k answers are no farther away than the exact k-th one, (Q,)."""
    kth = _exact_kth(engine, queries, k)
    hits = engine.search(queries, k, GalleryFilter())
    found = torch.from_numpy(GallerySearchResult.from_hits(hits, k).distances)
    return (found <= kth[:, None] + RECALL_TOLERANCE).sum(dim=1)


def _features_at(engine: SearchEngine, rows: np.ndarray) -> Tensor:
    """Features (len(rows), D) of some rows, which ascend."""
    parts, start = [], 0
    for block in engine.feature_blocks():
        inside = rows[(rows >= start) & (rows < start + len(block))] - start
        parts.append(block[torch.from_numpy(inside).to(block.device)].cpu())
        start += len(block)
    return torch.cat(parts)


def _exact_kth(engine: SearchEngine, queries: Tensor, k: int) -> Tensor:
    """Exact distance of the k-th nearest item of each query, (Q,)."""
    nearest = torch.full((len(queries), k), torch.inf)
    for block in engine.feature_blocks():
        part = top_k(queries.to(block.device), block, min(k, len(block))).distances.cpu()
        nearest = torch.cat((nearest, part), 1).topk(k, largest=False, sorted=True).values
    return nearest[:, -1]
