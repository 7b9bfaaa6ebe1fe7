"""Photos that cannot show one person: one camera took them at the same moment."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from ..functional.errors import ScoringInputError


class CannotLink:
    """The moments that are in each group, so that no group holds one twice.

    Args:
        moments: What identifies camera and time of each of N photos, None where unknown; of two
            photos with the same moment each shows somebody else. None for no such knowledge.
        count: Number of photos N.

    Raises:
        ScoringInputError: Not one moment for each photo.
    """

    def __init__(self, moments: Sequence[Hashable | None] | None, count: int) -> None:
        if moments is not None and len(moments) != count:
            raise ScoringInputError(f'got {len(moments)} moments for {count} photos')
        seen: dict[Hashable, list[int]] = {}
        for row, moment in enumerate(moments or ()):
            if moment is not None:
                seen.setdefault(moment, []).append(row)
        shared = [rows for rows in seen.values() if len(rows) > 1]
        #: Number of each photo's moment, (N,) int64; -1 where it has none or shares it with nobody.
        self.moment_of = np.full(count, -1, dtype=np.int64)
        self._moments: dict[int, set[int]] = {}
        for number, rows in enumerate(shared):
            self.moment_of[rows] = number
            self._moments.update((row, {number}) for row in rows)

    @property
    def num_photos(self) -> int:
        """Photos that share their moment with another one."""
        return int((self.moment_of >= 0).sum())

    def forbids(self, first: int, second: int) -> bool:
        """Tell whether two groups hold photos of one moment.

        Args:
            first: One group, named by one of its photos.
            second: The other one.

        Returns:
            Whether they cannot be one person.
        """
        if not self._moments:
            return False
        ours, theirs = self._moments.get(first), self._moments.get(second)
        return bool(ours and theirs and not ours.isdisjoint(theirs))

    def merge(self, kept: int, gone: int) -> None:
        """Give the moments of a group to the one that it is merged into.

        Args:
            kept: Name of the group that is there afterwards.
            gone: Name of the other one.
        """
        if (theirs := self._moments.pop(gone, None)) is None:
            return
        ours = self._moments.get(kept, set())
        small, large = sorted((ours, theirs), key=len)
        large |= small
        self._moments[kept] = large

    def conflicting(self, labels: np.ndarray) -> np.ndarray:
        """Find groups that hold a moment twice.

        Args:
            labels: Group of each photo, (N,) int64; negative for none.

        Returns:
            Their labels, ascending.
        """
        rows = np.flatnonzero((self.moment_of >= 0) & (labels >= 0))
        pairs = np.stack([labels[rows], self.moment_of[rows]], axis=1)
        unique, counts = np.unique(pairs, axis=0, return_counts=True)
        return np.unique(unique[counts > 1, 0])
