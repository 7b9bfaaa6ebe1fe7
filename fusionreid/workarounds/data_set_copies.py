"""Subsets of MMEngine's data sets that share nothing by mistake."""

from __future__ import annotations

from typing import Any

from mmengine.dataset import BaseDataset


class SeparateCopies(BaseDataset):
    """A data set whose subsets have parts of their own.

    Reason: MMEngine 0.10.7 keeps its memory of what was copied from one copy to the next, so that
    subsets share their parts, or get those of objects that are long gone. It ends with
    onedl-mmengine 0.10.12, which mends it.
    """

    def _copy_without_annotation(self, memo: dict[int, Any] | None = None) -> BaseDataset:
        return super()._copy_without_annotation({} if memo is None else memo)
