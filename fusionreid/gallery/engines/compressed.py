"""Search among compressed features, whose best are compared again by more precise ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionreid.errors import GalleryError
from fusionreid.evaluation.functional.compression import DTYPES, code_width, nearest_codes
from fusionreid.registry import SEARCH_ENGINES
from fusionreid.utils.feature_files import read_features, write_features

from ..items import Items
from .feature_rows import FeatureRows
from .local import FEATURES_FILE, LocalEngine
from .refine import refine_rows

CODES_FILE = 'codes.safetensors'
NONE = 'none'
CODES = ('float16', 'int8', 'binary')
# Queries whose candidates are decoded at once.
QUERY_ROWS = 64
PRECISE = ('float32', 'float16', NONE)


@SEARCH_ENGINES.register_module('compressed')
class CompressedEngine(LocalEngine):
    """Looks at the codes of all features, and compares the best by what is kept of the features.

    Binary codes are signs, and take features that lie on both sides of zero: whitened or not, a
    projection gives such, and a ReLU does not.

    Args:
        codes: What is searched: ``'float16'``, ``'int8'`` or ``'binary'``.
        rescore: What the best are compared by and other commands get: ``'float32'`` or
            ``'float16'`` features, mapped from disk; ``'none'`` keeps the codes alone.
        refine: Candidates for each of the k answers.

    Raises:
        GalleryError: If a setting cannot be.
    """

    name = 'compressed'

    def __init__(self, codes: str = 'int8', rescore: str = 'float32', refine: int = 10) -> None:
        super().__init__()
        self.codes, self.rescore, self.refine = codes, rescore, refine
        for setting, value, choices in (('codes', codes, CODES), ('rescore', rescore, PRECISE)):
            if value not in choices:
                raise GalleryError(
                    f'{setting} of {self.name} must be one of {", ".join(choices)}, got {value!r}'
                )
        if refine < 1:
            raise GalleryError(f'refine of {self.name} must be at least 1, got {refine}')
        self._codes = FeatureRows(0, codes)

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments that build the engine again."""
        return dict(type=self.name, codes=self.codes, rescore=self.rescore, refine=self.refine)

    @property
    def _keeps_precise(self) -> bool:
        return self.rescore not in (NONE, self.codes)

    @property
    def _best(self) -> FeatureRows:
        """The most precise features that are kept."""
        return self._rows if self._keeps_precise else self._codes

    @property
    def width(self) -> int:
        """Width D of the features."""
        return self._codes.width

    @property
    def features(self) -> Tensor:
        """All features as they are kept (N, D) float32, in the order of their arrival."""
        return self._best.take(slice(0, len(self.table)))

    def open(self, width: int, label: str) -> None:
        """Begin empty storages; the label is not kept."""
        self._codes = FeatureRows(width, self.codes)
        self._rows = FeatureRows(width, self.rescore if self._keeps_precise else self.codes)

    def add(self, items: Items, features: Tensor) -> None:
        """Append items, and their features in both forms."""
        self._codes.put(len(self.table), features)
        if self._keeps_precise:
            self._rows.put(len(self.table), features)
        self.table.append(items)

    def _keep(self, keep: np.ndarray) -> None:
        self._codes.keep(keep)
        if self._keeps_precise:
            self._rows.keep(keep)

    def _nearest(self, queries: Tensor, k: int, mask: np.ndarray | None) -> tuple[Tensor, Tensor]:
        allowed = len(self) if mask is None else int(mask.sum())
        count = min(allowed, k * self.refine)
        passing = None if mask is None else torch.from_numpy(mask)
        codes = self._codes.first(len(self))
        parts = []
        for part in queries.split(QUERY_ROWS):
            rows = nearest_codes(part, codes, self.codes, count, passing)
            # Each candidate is decoded once; in the order of the rows, which decides among equals.
            different, places = rows.unique(return_inverse=True)
            order, distances = refine_rows(self._best.take(different), part, places, k)
            parts.append((different[order], distances))
        return torch.cat([rows for rows, _ in parts]), torch.cat([part for _, part in parts])

    def feature_blocks(self) -> Iterator[Tensor]:
        """All features as they are kept, (rows, D) at a time, in the order of their arrival."""
        yield from self._best.blocks(len(self.table))

    def features_of(self, ids: Sequence[str]) -> Tensor:
        """Features of some items as they are kept."""
        return self._best.take(torch.tensor(self.table.rows(ids), dtype=torch.int64))

    def as_stored(self, features: Tensor) -> Tensor:
        """What is given back for features (N, D) float32."""
        rows = FeatureRows(features.shape[1], self._best.kind)
        rows.put(0, features)
        return rows.take(slice(0, len(features)))

    def _write_features(self, folder: Path) -> None:
        count = len(self.table)
        write_features(folder / CODES_FILE, self._codes.first(count))
        if self._keeps_precise:
            write_features(folder / FEATURES_FILE, self._rows.first(count))

    def _read_features(self, folder: Path, count: int, width: int) -> None:
        self.open(width, '')
        self._codes = self._map(folder / CODES_FILE, self.codes, count, width)
        if self._keeps_precise:
            self._rows = self._map(folder / FEATURES_FILE, self.rescore, count, width)

    @staticmethod
    def _map(path: Path, kind: str, count: int, width: int) -> FeatureRows:
        is_float = DTYPES[kind].is_floating_point
        stored = read_features(
            path, count, code_width(width, kind), GalleryError, is_float, DTYPES[kind]
        )
        return FeatureRows(width, kind, stored=stored)
