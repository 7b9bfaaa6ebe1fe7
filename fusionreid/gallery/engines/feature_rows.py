"""Features in memory, as they are or as codes, in storage that grows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fusionreid.evaluation.functional.compression import (
    DTYPES,
    code_width,
    decode_units,
    encode_units,
)
from fusionreid.evaluation.functional.distances import GalleryKeys

BLOCK_ROWS = 8192
GROWTH = 1.5


class FeatureRows:
    """Rows of features that can be added and removed.

    Storage grows by half its size, so that adding is amortized.

    Args:
        width: Width D of the features.
        kind: How they are kept: ``'float32'``, ``'float16'``, ``'int8'`` or ``'binary'``.
        device: Where.
        stored: What is there already, such as a mapped file.
    """

    def __init__(
        self,
        width: int,
        kind: str = 'float32',
        device: str | torch.device = 'cpu',
        stored: Tensor | None = None,
    ) -> None:
        self.width, self.kind = width, kind
        if stored is None:
            stored = torch.empty(0, code_width(width, kind), dtype=DTYPES[kind])
        self._storage = stored.to(device)
        self._keys: GalleryKeys | None = None

    def first(self, count: int) -> Tensor:
        """The codes of the first rows."""
        return self._storage[:count]

    def keys(self, count: int) -> GalleryKeys:
        """What exact searches take from the first rows, of float32; kept until rows change."""
        keys = self._keys  # another thread may search too
        if keys is None or len(keys.features) != count:
            self._keys = keys = GalleryKeys(self.first(count))
        return keys

    def take(self, rows: Tensor | slice) -> Tensor:
        """Features of some rows.

        Args:
            rows: Their places.

        Returns:
            (R, D) float32, L2-normalized.
        """
        return decode_units(self._storage[rows], self.kind, self.width)

    def blocks(self, count: int) -> Iterator[Tensor]:
        """Features of the first rows, (R, D) float32 at a time."""
        for start in range(0, count, BLOCK_ROWS):
            yield self.take(slice(start, min(start + BLOCK_ROWS, count)))

    def put(self, start: int, features: Tensor) -> None:
        """Write rows behind the first ``start``.

        Args:
            start: How many rows stay.
            features: (R, D) float32, L2-normalized, on any device.
        """
        self._keys = None
        stop = start + len(features)
        storage = self._storage
        if stop > len(storage):
            rows = max(stop, int(len(storage) * GROWTH))
            storage = storage.new_empty(rows, storage.shape[1])
            storage[:start] = self._storage[:start]
            self._storage = storage
        storage[start:stop] = encode_units(features.to(storage.device), self.kind)

    def keep(self, keep: np.ndarray) -> None:
        """Close the gaps where the mask ``keep`` (N,) is False, a block at a time."""
        self._keys = None
        target = 0
        for start in range(0, len(keep), BLOCK_ROWS):
            rows = torch.from_numpy(np.flatnonzero(keep[start : start + BLOCK_ROWS]) + start)
            kept = self._storage[rows.to(self._storage.device)]
            self._storage[target : target + len(rows)] = kept
            target += len(rows)
