"""Exact search by FAISS."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionreid.errors import GalleryError
from fusionreid.registry import SEARCH_ENGINES
from fusionreid.utils.optional import import_optional

from .local import LocalEngine
from .refine import refine_rows


@SEARCH_ENGINES.register_module('faiss_flat')
class FaissFlatEngine(LocalEngine):
    """Compares every query with every item by FAISS, on the CPU.

    FAISS works on the features as they are kept; there is no second copy of them. Its float32
    products decide who is found, exact distances in which order.
    """

    name = 'faiss_flat'

    def __init__(self) -> None:
        super().__init__()
        self._faiss = import_optional(
            'faiss', 'faiss-cpu', f'the engine {self.name!r}', GalleryError
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments that build the engine again."""
        return dict(type=self.name)

    def _nearest(self, queries: Tensor, k: int, mask: np.ndarray | None) -> tuple[Tensor, Tensor]:
        faiss = self._faiss
        query = np.ascontiguousarray(queries.numpy())
        gallery = self.features.numpy()
        rows = np.empty((len(query), k), dtype=np.int64)
        distances = np.empty((len(query), k), dtype=np.float32)
        selector = None
        if mask is not None:
            bits = np.packbits(mask, bitorder='little')
            selector = faiss.IDSelectorBitmap(bits)
        faiss.knn_L2sqr(
            faiss.swig_ptr(query),
            faiss.swig_ptr(gallery),
            self.width,
            len(query),
            len(gallery),
            k,
            faiss.swig_ptr(distances),
            faiss.swig_ptr(rows),
            None,
            selector,
        )
        return refine_rows(self.features, queries, torch.from_numpy(rows), k)
