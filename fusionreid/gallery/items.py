"""The images of a gallery as a table: which file, who, and seen by which camera."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from .filter import EXCLUDE, GalleryFilter
from .metadata import NOTHING, Metadata


@dataclass(frozen=True)
class Items:
    """Columns about N images.

    Args:
        ids: Unique names of the items.
        paths: Image files; ``''`` for an item without one.
        person_ids: Identities (N,), -1 where unknown.
        camera_ids: 0-based cameras (N,), -1 where unknown.
        metadata: What else is known about each; none of them is changed. Left out, nothing is.
    """

    ids: Sequence[str]
    paths: Sequence[str]
    person_ids: Sequence[int]
    camera_ids: Sequence[int]
    metadata: Sequence[Metadata] = ()

    def __post_init__(self) -> None:
        if len(self.metadata) != len(self.ids):
            object.__setattr__(self, 'metadata', [NOTHING] * len(self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> Items:
        """Some of the items, in the order of ``rows``."""
        columns = (getattr(self, column.name) for column in fields(self))
        return Items(*([column[row] for row in rows] for column in columns))


class ItemTable:
    """Items that can be added, removed and chosen by a filter, in the order of their arrival."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.paths: list[str] = []
        # Arrays of Python's grow in place, unlike NumPy's.
        self._person_ids = array('q')
        self._camera_ids = array('q')
        self.metadata: list[Metadata] = []
        self._rows: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def person_ids(self) -> np.ndarray:
        """Identities (N,) int64."""
        return np.array(self._person_ids, dtype=np.int64)

    @property
    def camera_ids(self) -> np.ndarray:
        """Cameras (N,) int64."""
        return np.array(self._camera_ids, dtype=np.int64)

    @property
    def items(self) -> Items:
        """All items."""
        return Items(self.ids, self.paths, self._person_ids, self._camera_ids, self.metadata)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._rows

    def rows(self, ids: Iterable[str]) -> list[int]:
        """Rows of those of the ids that are there."""
        return [self._rows[item_id] for item_id in ids if item_id in self._rows]

    def append(self, items: Items) -> None:
        """Add items, whose ids must be new."""
        self._rows.update(zip(items.ids, range(len(self), len(self) + len(items)), strict=True))
        self.ids.extend(items.ids)
        self.paths.extend(items.paths)
        self._person_ids.extend(items.person_ids)
        self._camera_ids.extend(items.camera_ids)
        self.metadata.extend(items.metadata)

    def keep(self, keep: np.ndarray) -> None:
        """Drop the rows where the mask ``keep`` (N,) is False."""
        rows = np.flatnonzero(keep).tolist()
        self.ids = [self.ids[row] for row in rows]
        self.paths = [self.paths[row] for row in rows]
        self._person_ids = array('q', self.person_ids[keep].tolist())
        self._camera_ids = array('q', self.camera_ids[keep].tolist())
        self.metadata = [self.metadata[row] for row in rows]
        self._rows = {item_id: row for row, item_id in enumerate(self.ids)}

    def mask(self, wanted: GalleryFilter) -> np.ndarray | None:
        """Which rows pass a filter, (N,) bool; None if all do."""
        if not wanted:
            return None
        mask = np.ones(len(self), dtype=bool)
        for name, column in (('cameras', 'camera_ids'), ('person_ids', 'person_ids')):
            kept, left_out = getattr(wanted, name), getattr(wanted, f'{EXCLUDE}{name}')
            if kept is not None:
                mask &= np.isin(getattr(self, column), list(kept))
            if left_out is not None:
                mask &= ~np.isin(getattr(self, column), list(left_out))
        if wanted.ids is not None:
            mask &= self._mark(wanted.ids)
        if wanted.exclude_ids is not None:
            mask &= ~self._mark(wanted.exclude_ids)
        for condition in wanted.conditions:
            passing = [condition.passes(metadata) for metadata in self.metadata]
            mask &= np.array(passing, dtype=bool)
        return mask

    def _mark(self, ids: Iterable[str]) -> np.ndarray:
        marked = np.zeros(len(self), dtype=bool)
        marked[self.rows(ids)] = True
        return marked
