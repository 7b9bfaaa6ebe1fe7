"""HDBSCAN of scikit-learn over the graph of neighbors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .cannot_link import CannotLink
from .connected import connect
from .neighbor_graph import NeighborGraph

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# Photos that make a person, and that must be near for a place to be dense.
MIN_PHOTOS = 3
# The minimum spanning tree of SciPy takes a zero for no pair at all.
LEAST = 1e-9


def cluster_dense(graph: NeighborGraph, cannot_link: CannotLink) -> np.ndarray:
    """Group photos by HDBSCAN (Campello et al., PAKDD 2013).

    It knows of no moments; a group that holds one twice is grouped again by :func:`connect`.

    Args:
        graph: Pairs of neighbors, at least ``MIN_PHOTOS`` for each photo.
        cannot_link: The moments of the photos; it is used up.

    Returns:
        Group of each photo, (N,) int64, -1 for photos in no dense place.
    """
    from sklearn.cluster import HDBSCAN

    moments = cannot_link.moment_of
    apart = (moments[graph.first] >= 0) & (moments[graph.first] == moments[graph.second])
    reducer = HDBSCAN(
        min_cluster_size=MIN_PHOTOS, min_samples=MIN_PHOTOS, metric='precomputed', copy=False
    )
    labels: np.ndarray = reducer.fit(_as_matrix(graph, apart)).labels_.astype(np.int64)
    broken = cannot_link.conflicting(labels)
    if len(broken):
        inside = np.isin(labels, broken)
        again = inside[graph.first] & (labels[graph.first] == labels[graph.second]) & ~apart
        merges = connect(graph.where(again), np.inf, cannot_link)
        labels[inside] = labels.max() + 1 + merges.groups(len(merges))[inside]
    return labels


def _as_matrix(graph: NeighborGraph, apart: np.ndarray) -> csr_array:
    """The distances as a symmetric matrix of one connected component, (N, N).

    What is apart, and components that nothing connects, are as far from each other as the farthest
    neighbors. Farther, whole components would look like one dense place each.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    far = max(float(graph.distances[-1]), LEAST)
    distances = np.where(apart, far, np.maximum(graph.distances, LEAST))
    size = (graph.size, graph.size)
    # Before 1.16 SciPy's minimum spanning tree took no other indices.
    first, second = graph.first.astype(np.int32), graph.second.astype(np.int32)
    matrix = csr_array((distances, (first, second)), shape=size)
    _, part = connected_components(matrix, directed=False)
    _, heads = np.unique(part, return_index=True)
    heads = heads.astype(np.int32)
    bridges = csr_array((np.full(len(heads) - 1, far), (heads[:-1], heads[1:])), shape=size)
    matrix = matrix + bridges
    return csr_array(matrix + matrix.T)
