"""A history of merged groups, which can be cut at any distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class DisjointSets:
    """Groups of the numbers 0..N - 1, each named by one of its members.

    Args:
        count: How many numbers there are, each a group of its own.
    """

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self._size = [1] * count

    def find(self, member: int) -> int:
        """The name of a member's group."""
        parent = self._parent
        while (above := parent[member]) != member:
            parent[member] = member = parent[above]
        return member

    def union(self, first: int, second: int) -> tuple[int, int]:
        """Merge two groups.

        Args:
            first: Name of one group.
            second: Name of the other one.

        Returns:
            The name that is kept, that of the larger group, and the one that is gone.
        """
        if self._size[first] < self._size[second]:
            first, second = second, first
        self._parent[second] = first
        self._size[first] += self._size[second]
        return first, second

    def labels(self) -> np.ndarray:
        """Number of each member's group, (N,) int64, from 0 on without a gap."""
        roots = np.array([self.find(member) for member in range(len(self._parent))])
        return np.unique(roots, return_inverse=True)[1]


@dataclass(frozen=True)
class Merges:
    """Merges of two groups each, in the order in which they were made.

    Attributes:
        size: Number of photos N.
        first: A photo of one of the groups, (M,) int64.
        second: A photo of the other one, (M,) int64.
        distances: Distance of the groups, (M,) float64.
    """

    size: int
    first: np.ndarray
    second: np.ndarray
    distances: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def groups(self, count: int) -> np.ndarray:
        """The groups after some merges.

        Args:
            count: How many of the merges are made, 0..M.

        Returns:
            Number of each photo's group, (N,) int64, from 0 on without a gap.
        """
        sets = DisjointSets(self.size)
        pairs = zip(self.first[:count].tolist(), self.second[:count].tolist(), strict=True)
        for first, second in pairs:
            sets.union(sets.find(first), sets.find(second))
        return sets.labels()
