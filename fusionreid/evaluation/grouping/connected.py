"""Connected components: whoever a chain of near photos leads to is the same person."""

from __future__ import annotations

import numpy as np

from .cannot_link import CannotLink
from .merges import DisjointSets, Merges
from .neighbor_graph import NeighborGraph


def connect(graph: NeighborGraph, max_distance: float, cannot_link: CannotLink) -> Merges:
    """Merge the groups of each pair of photos, the nearest pair first (Kruskal's algorithm).

    Without moments these are the connected components of the graph; single linkage, in other words.

    Args:
        graph: Pairs of photos.
        max_distance: Pairs farther apart than this are left alone.
        cannot_link: The moments of the photos; it is used up.

    Returns:
        The merges.
    """
    sets = DisjointSets(graph.size)
    stop = int(np.searchsorted(graph.distances, max_distance, side='right'))
    merged = []
    pairs = zip(graph.first[:stop].tolist(), graph.second[:stop].tolist(), strict=True)
    for number, (first, second) in enumerate(pairs):
        one, other = sets.find(first), sets.find(second)
        if one != other and not cannot_link.forbids(one, other):
            cannot_link.merge(*sets.union(one, other))
            merged.append(number)
    return Merges(graph.size, graph.first[merged], graph.second[merged], graph.distances[merged])
