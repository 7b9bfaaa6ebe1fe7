"""Average linkage of neighboring groups, exact from their sums, in bounded memory.

The mean squared distance of all pairs of photos of two groups A and B needs no pairs: it is
``q(A) + q(B) - 2 m(A).m(B)``, with the mean ``m`` of a group's features and the mean ``q`` of their
squared norms. So a sum and a number for each group are all that is kept. Two groups are compared if
a photo of one is among the nearest neighbors of a photo of the other.

A group may outgrow its neighbors: the nearest of each of its photos are all its own. Groups of more
than half as many photos as there are neighbors therefore look for the nearest groups once all
others are merged, until nothing is left to merge.
"""

from __future__ import annotations

import heapq

import numpy as np
import torch

from fusionreid.utils.progress import Progress

from ..functional.top_k import top_k
from .cannot_link import CannotLink
from .merges import Merges
from .neighbor_graph import NeighborGraph

# Groups whose sums are copied at once.
BLOCK_ROWS = 4096


def link_average(
    graph: NeighborGraph,
    features: np.ndarray,
    neighbors: int,
    max_distance: float,
    cannot_link: CannotLink,
    *,
    memory_limit: int,
    progress: bool = False,
) -> Merges:
    """Merge the two nearest groups, again and again, while they are near enough.

    Args:
        graph: Pairs of neighbors.
        features: (N, D) float32; overwritten.
        neighbors: Neighbors that each photo had at least.
        max_distance: Root of the mean squared distance up to which groups are merged.
        cannot_link: The moments of the photos; it is used up.
        memory_limit: Bytes for a search among the groups.
        progress: Show a line on stderr.

    Returns:
        The merges.
    """
    linkage = _Linkage(graph, features, cannot_link, progress)
    limit = max_distance**2
    linkage.run(limit)
    merged = 0
    while merged < len(linkage.heights) and linkage.widen(neighbors, memory_limit):
        merged = len(linkage.heights)
        linkage.run(limit)
    return Merges(
        graph.size,
        np.array(linkage.first, dtype=np.int64),
        np.array(linkage.second, dtype=np.int64),
        np.sqrt(linkage.heights, dtype=np.float64),
    )


# Mean squared distance, a group and its nearest one, and the sizes that they had by then.
_Entry = tuple[float, int, int, float, float]


class _Linkage:
    """Groups, each named by one of its photos, and what is known about them."""

    def __init__(
        self, graph: NeighborGraph, features: np.ndarray, cannot_link: CannotLink, progress: bool
    ) -> None:
        count = graph.size
        # Around their middle, where float32 loses the fewest digits.
        features -= features.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.sums = features
        self.sizes = np.ones(count)
        self.squares = np.einsum('nd,nd->n', features, features, dtype=np.float64)
        self.cannot_link = cannot_link
        #: Group of each photo, (N,), and the photos of each group of several.
        self.into = np.arange(count, dtype=np.int32)
        self.photos: dict[int, list[int]] = {}
        neighbors, starts = graph.adjacency()
        self.near = np.split(neighbors, starts[1:-1])
        self.first: list[int] = []
        self.second: list[int] = []
        self.heights: list[float] = []
        self.meter = Progress('grouping, photos', count, progress)

    def run(self, limit: float) -> None:
        """Merge groups up to a mean squared distance of ``limit``."""
        # For each group its nearest one. A merge makes a group no nearer to another one, unless
        # they become neighbors by it; then the merged group has the other one in its own list.
        heap: list[_Entry] = []
        for group in self._alive().tolist():
            self._push(heap, group, limit)
        while heap:
            height, group, other, own_size, other_size = heapq.heappop(heap)
            if self.sizes[group] != own_size:
                continue  # it was merged, and has another entry if it is still there
            if self.sizes[other] != other_size:
                self._push(heap, group, limit)
            elif self.cannot_link.forbids(group, other):
                self.near[group] = self._neighbors(group, without=other)
                self._push(heap, group, limit)
            else:
                self._push(heap, self._merge(group, other, height), limit)
        self.meter.update(self.meter.total)

    def _alive(self) -> np.ndarray:
        return np.flatnonzero(self.sizes > 0)

    def _push(self, heap: list[_Entry], group: int, limit: float) -> None:
        """Note the nearest neighbor of a group, if it is within the limit."""
        near = self.near[group] = self._neighbors(group)
        if not len(near):
            return
        distances = self._distances(group, near)
        place = int(distances.argmin())
        if distances[place] <= limit:
            other = int(near[place])
            sizes = float(self.sizes[group]), float(self.sizes[other])
            heapq.heappush(heap, (float(distances[place]), group, other, *sizes))

    def _neighbors(self, group: int, without: int = -1) -> np.ndarray:
        """The groups that a group's neighbors are in now, each once."""
        near = np.sort(self.into[self.near[group]])
        keep = near != group
        keep[1:] &= near[1:] != near[:-1]
        keep &= near != without
        return near[keep]

    def _distances(self, group: int, others: np.ndarray) -> np.ndarray:
        """Mean squared distances of a group to others, (K,) float64."""
        own = self.sums[group]
        if len(others) <= BLOCK_ROWS:
            products = (self.sums[others] @ own).astype(np.float64)
        else:
            parts = np.split(others, range(BLOCK_ROWS, len(others), BLOCK_ROWS))
            products = np.concatenate([self.sums[part] @ own for part in parts], dtype=np.float64)
        products *= -2 / self.sizes[group]
        products /= self.sizes[others]
        products += self.squares[others]
        products += self.squares[group]
        return np.maximum(products, 0, out=products)

    def _merge(self, group: int, other: int, height: float) -> int:
        """Merge two groups; returns the name of both, that of the larger one."""
        self.first.append(group)
        self.second.append(other)
        self.heights.append(height)
        kept, gone = (group, other) if self.sizes[group] >= self.sizes[other] else (other, group)
        total = self.sizes[kept] + self.sizes[gone]
        parts = self.squares[kept] * self.sizes[kept] + self.squares[gone] * self.sizes[gone]
        self.squares[kept] = parts / total
        self.sums[kept] += self.sums[gone]
        self.sizes[kept], self.sizes[gone] = total, 0
        moved = self.photos.pop(gone, [gone])
        self.into[moved] = kept
        self.photos.setdefault(kept, [kept]).extend(moved)
        self.near[kept] = np.concatenate([self.near[kept], self.near[gone]])
        self.near[gone] = self.near[gone][:0]
        self.cannot_link.merge(kept, gone)
        self.meter.update(len(self.heights))
        return kept

    def widen(self, neighbors: int, memory_limit: int) -> bool:
        """Let large groups look for the nearest groups.

        Args:
            neighbors: Neighbors that each photo had at least, and that each group gets.
            memory_limit: Bytes for the search.

        Returns:
            Whether there are such groups, and others.
        """
        alive = self._alive()
        large = alive[self.sizes[alive] > neighbors // 2]
        if not len(large) or len(alive) < 2:
            return False
        means = torch.empty(len(alive), self.sums.shape[1])
        for start in range(0, len(alive), BLOCK_ROWS):
            rows = alive[start : start + BLOCK_ROWS]
            part = self.sums[rows] / self.sizes[rows, None].astype(np.float32)
            means[start : start + len(rows)] = torch.from_numpy(part)
        places = torch.from_numpy(np.searchsorted(alive, large))
        # A column of ones: a mean may lie in the middle, and a zero has no direction.
        means = torch.cat([means, torch.ones(len(means), 1)], dim=1)
        count = min(neighbors + 1, len(alive))
        found = top_k(means[places], means, count, memory_limit=memory_limit).indices.numpy()
        owner = np.repeat(large, count).astype(np.int32)
        other = alive[found.ravel()].astype(np.int32)
        owner, other = np.r_[owner, other], np.r_[other, owner]
        order = np.argsort(owner, kind='stable')
        groups, starts = np.unique(owner[order], return_index=True)
        for group, new in zip(groups.tolist(), np.split(other[order], starts[1:]), strict=True):
            self.near[group] = np.concatenate([self.near[group], new])
        return True
