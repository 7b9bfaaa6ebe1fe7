"""The graph that photos are grouped on: each photo and its nearest neighbors, both ways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fusionreid.utils.progress import Progress

from ..functional.errors import MemoryLimitError
from ..functional.nearest_neighbors import (
    RESEARCH_ROWS,
    PointSet,
    nearest_neighbors,
    neighbor_bytes,
    tile_bytes,
)

TILE = 1024
SMALLEST_TILE = 64


@dataclass(frozen=True)
class NeighborGraph:
    """Pairs of photos of which one is among the nearest of the other.

    Attributes:
        size: Number of photos N.
        first: One photo of each pair, (E,) int64; sorted by the distance of the pair.
        second: The other one, (E,) int64, above ``first``.
        distances: Their Euclidean distances, (E,) float64, ascending.
    """

    size: int
    first: np.ndarray
    second: np.ndarray
    distances: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def where(self, keep: np.ndarray) -> NeighborGraph:
        """The same photos with some of the pairs: those where the mask ``keep`` (E,) is True."""
        return NeighborGraph(self.size, self.first[keep], self.second[keep], self.distances[keep])

    def adjacency(self) -> tuple[np.ndarray, np.ndarray]:
        """The neighbors of each photo, both ways.

        Returns:
            The neighbors of all photos one after the other, (2E,) int32, and where those of each
            begin, (N + 1,) int64.
        """
        owner = np.concatenate([self.first, self.second]).astype(np.int32)
        other = np.concatenate([self.second, self.first]).astype(np.int32)
        order = np.argsort(owner, kind='stable')
        starts = np.zeros(self.size + 1, dtype=np.int64)
        np.cumsum(np.bincount(owner, minlength=self.size), out=starts[1:])
        return other[order], starts


def build_graph(
    features: Tensor, neighbors: int, *, memory_limit: int, progress: bool = False
) -> NeighborGraph:
    """Find the nearest neighbors of every photo.

    Args:
        features: (N, D) float, at least two rows.
        neighbors: Neighbors of each photo, 1..N - 1.
        memory_limit: Bytes that may be used on top of the features.
        progress: Show a line on stderr.

    Returns:
        The graph.

    Raises:
        ScoringInputError: Bad features, or a memory limit that is too small.
    """
    points = PointSet(features)
    count, width = features.shape
    size = points.features.element_size()
    # The pairs both ways while they are sorted, and a search again where rounding leaves it open.
    tables = neighbor_bytes(count, neighbors + 1, size) + count * neighbors * 48
    tables += RESEARCH_ROWS * (width * size + 32 * neighbors) + count * (8 * size + 200)
    tile = TILE
    while tile > SMALLEST_TILE and tables + tile_bytes(tile, neighbors + 1, width, size) > (
        memory_limit
    ):
        tile //= 2
    least = tables + tile_bytes(tile, neighbors + 1, width, size)
    if least > memory_limit:
        raise MemoryLimitError(
            f'memory_limit={memory_limit} bytes is too small for {neighbors} neighbors of each of '
            f'{count} features of width {width}: about {least} bytes are needed'
        )
    found = nearest_neighbors(
        points,
        neighbors + 1,
        tile=tile,
        memory_limit=memory_limit - tables,
        progress=Progress if progress else None,
    )
    # A photo is its own first neighbor.
    owner = torch.arange(count).repeat_interleave(neighbors)
    other = found.indices[:, 1:].reshape(-1).cpu()
    pairs = torch.minimum(owner, other) * count + torch.maximum(owner, other)
    del owner, other
    squares = found.squares[:, 1:].reshape(-1).cpu().numpy()
    unique, place = np.unique(pairs.numpy(), return_index=True)
    distances = np.sqrt(squares[place], dtype=np.float64)
    order = np.argsort(distances, kind='stable')
    unique = unique[order]
    return NeighborGraph(count, unique // count, unique % count, distances[order])
