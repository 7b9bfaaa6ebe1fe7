"""Keeps a sparse matrix by rows: only the entries that are not zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..true_positions import true_positions

# Entries that are sorted at once.
SORTED_ENTRIES = 1 << 22


@dataclass(frozen=True)
class SparseRows:
    """A sparse (R, C) matrix by rows (CSR), on the CPU.

    Attributes:
        start: (R + 1,) int64; row r owns the entries from ``start[r]`` to ``start[r + 1]``.
        columns: Column of each entry, (E,) int32.
        values: (E,) floating point.
    """

    start: Tensor
    columns: Tensor
    values: Tensor

    @classmethod
    def join(cls, parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> SparseRows:
        """Stack groups of rows.

        Args:
            parts: For each group the number of entries of each of its rows, their columns and
                their values.

        Returns:
            The rows of all groups, in order.
        """
        counts, columns, values = zip(*parts, strict=True)
        start = torch.cat([torch.zeros(1, dtype=torch.int64), *counts]).cumsum(0)
        return cls(start, torch.cat(columns), torch.cat(values))

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def counts(self) -> Tensor:
        """Number of entries of each row, (R,) int64."""
        return self.start[1:] - self.start[:-1]

    def entries(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Positions of the entries of the given rows, one row after the other.

        Args:
            rows: (S,) int64, may repeat.

        Returns:
            For each entry its place in ``rows`` and its position in ``columns`` and ``values``,
            both (P,) int64.
        """
        first = self.start.index_select(0, rows)
        counts = self.start.index_select(0, rows + 1) - first
        owner = torch.repeat_interleave(counts)
        shift = first - (counts.cumsum(0) - counts)
        return owner, shift.index_select(0, owner) + torch.arange(len(owner))

    def transpose(self, num_columns: int) -> SparseRows:
        """Keep the same matrix by columns.

        Args:
            num_columns: C.

        Returns:
            (C, R).
        """
        start = torch.zeros(num_columns + 1, dtype=torch.int64)
        torch.cumsum(torch.bincount(self.columns, minlength=num_columns), 0, out=start[1:])
        owner = torch.repeat_interleave(torch.arange(len(self), dtype=torch.int32), self.counts)
        rows, values = torch.empty_like(self.columns), torch.empty_like(self.values)
        # A range of columns at a time, because sorting takes several times the memory of what is
        # sorted.
        bounds = torch.arange(0, len(rows) + SORTED_ENTRIES, SORTED_ENTRIES)
        bounds = torch.searchsorted(start, bounds).clamp_max(num_columns).unique().tolist()
        for low, high in pairwise(bounds):
            at = true_positions((self.columns >= low) & (self.columns < high))
            at = at[self.columns.index_select(0, at).argsort(stable=True)]
            part = slice(int(start[low]), int(start[high]))
            torch.index_select(owner, 0, at, out=rows[part])
            torch.index_select(self.values, 0, at, out=values[part])
        return SparseRows(start, rows, values)
