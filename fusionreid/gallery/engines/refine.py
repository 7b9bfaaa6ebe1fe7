"""Candidates in the order of their exact distances."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK_BYTES = 64 << 20


def refine_rows(features: Tensor, queries: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Put candidates in the order of their exact distances.

    Args:
        features: Features (N, D).
        queries: Queries (Q, D).
        rows: Candidates of each query, (Q, C); -1 stands for none.
        k: How many are kept, at most C.

    Returns:
        Rows and Euclidean distances, (Q, k) each, nearest first, equal distances in the order of
        the rows; -1 and infinity where there are fewer candidates.
    """
    # Sorted by row first: the second sort keeps the order of equal distances.
    rows = rows.sort(dim=1).values
    distances = torch.empty(rows.shape, dtype=torch.float64)
    flat = rows.flatten()
    step = max(1, BLOCK_BYTES // (24 * features.shape[1]))
    for start in range(0, len(flat), step):
        part = torch.arange(start, min(start + step, len(flat)))
        found = features[flat[part].clamp_min(0)].double()
        found.sub_(queries[part // rows.shape[1]])
        distances.view(-1)[part] = torch.linalg.vector_norm(found, dim=1)
    distances.masked_fill_(rows < 0, torch.inf)
    nearest = distances.sort(dim=1, stable=True)
    order = nearest.indices[:, :k]
    return rows.gather(1, order), nearest.values[:, :k].float()
