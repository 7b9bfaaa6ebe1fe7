"""Exact search on a CPU or a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionreid.evaluation.functional import top_k
from fusionreid.evaluation.functional.distances import GalleryKeys
from fusionreid.evaluation.functional.memory import DEFAULT_MEMORY_LIMIT
from fusionreid.registry import SEARCH_ENGINES

from .local import LocalEngine

# Below this share of allowed rows it is faster to copy them than to look at all.
COPIED_SHARE = 1 / 8
# What the exact search needs for each gallery row, whatever the number of queries.
BYTES_PER_ROW = 256


def exact_nearest(
    gallery: GalleryKeys, queries: Tensor, k: int, mask: np.ndarray | None
) -> tuple[Tensor, Tensor]:
    """Find the nearest rows exactly, in bounded memory; equal distances in the order of the rows.

    Args:
        gallery: Features (N, D).
        queries: Queries (Q, D), on the same device.
        k: Rows wanted, at most as many as pass.
        mask: Which rows pass, (N,) bool; None for all.

    Returns:
        Rows and distances, (Q, k) each.
    """
    features = gallery.features
    limit = max(DEFAULT_MEMORY_LIMIT, BYTES_PER_ROW * len(features))
    if mask is None:
        found = top_k(queries, gallery, k, memory_limit=limit)
        return found.indices, found.distances
    if mask.mean() <= COPIED_SHARE:
        rows = torch.from_numpy(np.flatnonzero(mask)).to(features.device)
        found = top_k(queries, features[rows], k, memory_limit=limit)
        return rows[found.indices], found.distances
    # To top_k the rows that do not pass are images of the query's own identity and camera.
    allowed = torch.from_numpy(mask.astype(np.int64)).to(features.device)
    same = torch.zeros(len(queries), dtype=torch.int64, device=features.device)
    found = top_k(
        queries,
        gallery,
        k,
        query_ids=same,
        gallery_ids=allowed,
        query_cameras=same,
        gallery_cameras=torch.zeros_like(allowed),
        memory_limit=limit,
    )
    return found.indices, found.distances


@SEARCH_ENGINES.register_module('exact')
class ExactEngine(LocalEngine):
    """Compares every query with every item; on a CPU or a GPU, wherever the features are."""

    name = 'exact'

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments that build the engine again."""
        return dict(type=self.name)

    def _nearest(self, queries: Tensor, k: int, mask: np.ndarray | None) -> tuple[Tensor, Tensor]:
        return exact_nearest(self._rows.keys(len(self)), queries, k, mask)
