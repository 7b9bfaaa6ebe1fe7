"""Groups features into people, and says how sure that is."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fusionreid.errors import ScoringError

from ..functional.errors import ScoringInputError
from ..functional.validation import feature_norms
from ..scoring_errors import scoring_errors
from .average_linkage import link_average
from .cannot_link import CannotLink
from .connected import connect
from .density import MIN_PHOTOS, cluster_dense
from .merges import Merges
from .methods import (
    DEFAULT_GROUPING_MEMORY_LIMIT,
    DEFAULT_METHOD,
    DEFAULT_MIN_PHOTOS,
    DEFAULT_NEIGHBORS,
    METHODS,
)
from .neighbor_graph import NeighborGraph, build_graph
from .silhouette import find_threshold

# A threshold is looked for up to the distance that this share of the pairs of neighbors keeps to.
SHARE_OF_PAIRS = 0.95
BLOCK_ROWS = 8192


@dataclass(frozen=True)
class Grouping:
    """People found among N photos.

    Attributes:
        people: Person of each photo, (N,) int64, from 0 on, the one with the most photos first; -1
            for a photo of which nobody else was found enough.
        distances: Euclidean distance of each photo to the center of its group, the L2-normalized
            mean, (N,) float32; NaN for the photos of nobody.
        max_distance: Distance up to which photos or groups were joined; infinite for no limit.
        num_shared: Photos that share their moment with others.
    """

    people: np.ndarray
    distances: np.ndarray
    max_distance: float
    num_shared: int

    @property
    def num_people(self) -> int:
        """Number of people."""
        return int(self.people.max(initial=-1)) + 1


@torch.no_grad()
def group_features(
    features: Tensor,
    *,
    method: str = DEFAULT_METHOD,
    max_distance: float | None = None,
    moments: Sequence[Hashable | None] | None = None,
    neighbors: int = DEFAULT_NEIGHBORS,
    min_photos: int = DEFAULT_MIN_PHOTOS,
    memory_limit: int = DEFAULT_GROUPING_MEMORY_LIMIT,
    progress: bool = False,
) -> Grouping:
    """Group features of photos by person.

    Args:
        features: (N, D) float, any length; they are compared L2-normalized.
        method: ``'average'``: the two groups of the smallest mean squared distance are joined,
            again and again (Sokal and Michener, 1958). ``'connected'``: connected components.
            ``'hdbscan'``: dense places (Campello et al., 2013), by scikit-learn.
        max_distance: Euclidean distance up to which photos, or groups by the root of their mean
            squared distance, are joined, 0..2. None chooses the one of the largest silhouette, see
            :func:`~fusionreid.evaluation.grouping.silhouette.find_threshold`; HDBSCAN takes none.
        moments: Camera and time of each photo in any form, None where unknown. Photos of the same
            moment are not joined.
        neighbors: Neighbors of each photo that are looked at; all others where there are fewer.
        min_photos: Photos that make a person; those of smaller groups belong to nobody.
        memory_limit: Bytes that may be used on top of the features and two copies of them.
        progress: Show a line for each step on stderr.

    Returns:
        The people.

    Raises:
        TypeError: Features that are no floating point tensor.
        ScoringError: Fewer than two photos, bad features, a number out of its range, a method whose
            package is missing, or photos from which no distance can be found.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [-1.0, -1.0]])
        >>> group_features(features, max_distance=0.3).people.tolist()
        [0, 0, 1, 1, -1]
        >>> moments = ['camera 1, 12:00', 'camera 1, 12:00', None, None, None]
        >>> group_features(features, max_distance=0.3, moments=moments).people.tolist()
        [-1, -1, 0, 0, -1]
    """
    _check(method, max_distance, neighbors, min_photos)
    with scoring_errors():
        rows = _unit_rows(features)
        cannot_link = CannotLink(moments, len(rows))
        num_shared = cannot_link.num_photos
        count = min(neighbors, len(rows) - 1)
        graph = build_graph(rows, count, memory_limit=memory_limit, progress=progress)

        def merge(limit: float) -> Merges:
            apart = CannotLink(moments, len(rows))
            if method == 'connected':
                return connect(graph, limit, apart)
            return link_average(
                graph,
                rows.numpy().copy(),
                count,
                limit,
                apart,
                memory_limit=memory_limit,
                progress=progress,
            )

        if method == 'hdbscan':
            if count < MIN_PHOTOS:
                raise ScoringInputError(
                    f'HDBSCAN needs at least {MIN_PHOTOS} neighbors of each photo, got {count}'
                )
            limit = math.inf
            labels = cluster_dense(graph, cannot_link)
        else:
            if max_distance is None:
                limit = find_threshold(merge(_farthest(graph)), rows)
            else:
                limit = float(max_distance)
            merges = merge(limit)
            labels = merges.groups(len(merges))
    people = _number(labels, min_photos)
    return Grouping(people, _center_distances(people, rows), limit, num_shared)


def _check(method: str, max_distance: float | None, neighbors: int, min_photos: int) -> None:
    if method not in METHODS:
        raise ScoringError(f'method {method!r} is none of {", ".join(METHODS)}')
    if method == 'hdbscan' and importlib.util.find_spec('sklearn') is None:
        raise ScoringError(
            'HDBSCAN needs scikit-learn: pip install scikit-learn, or take --method average'
        )
    if method == 'hdbscan' and max_distance is not None:
        raise ScoringError('HDBSCAN finds its own distances: leave max_distance out')
    for name, value in (('neighbors', neighbors), ('min_photos', min_photos)):
        if not isinstance(value, int) or value < 1:
            raise ScoringError(f'{name} must be a whole number from 1 on, got {value!r}')
    # Not a NaN either.
    if max_distance is not None and not 0 <= max_distance <= 2:
        raise ScoringError(
            f'max_distance must be in 0..2, the distances of L2-normalized features, got '
            f'{max_distance}'
        )


def _unit_rows(features: Tensor) -> Tensor:
    norms = feature_norms(features, 'photo')
    if len(features) < 2:
        raise ScoringInputError('1 photo is no group: at least 2 are needed')
    rows = torch.empty(features.shape)
    for start in range(0, len(features), BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        rows[part] = (features[part].double() / norms[part, None]).float().cpu()
    return rows


def _farthest(graph: NeighborGraph) -> float:
    return float(graph.distances[int(SHARE_OF_PAIRS * (len(graph) - 1))])


def _number(labels: np.ndarray, min_photos: int) -> np.ndarray:
    """Number groups by their sizes, equal ones by their first photos; -1 for small ones."""
    found, first, place, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -sizes))
    order = order[((sizes >= min_photos) & (found >= 0))[order]]
    number = np.full(len(found), -1, dtype=np.int64)
    number[order] = np.arange(len(order))
    return number[place]


def _center_distances(people: np.ndarray, rows: Tensor) -> np.ndarray:
    known = torch.from_numpy(np.flatnonzero(people >= 0))
    distances = np.full(len(people), np.nan, dtype=np.float32)
    if not len(known):
        return distances
    groups = torch.from_numpy(people)
    centers = rows.new_zeros(int(people.max()) + 1, rows.shape[1])
    for part in known.split(BLOCK_ROWS):
        centers.index_add_(0, groups[part], rows[part])
    centers = torch.nn.functional.normalize(centers)
    for part in known.split(BLOCK_ROWS):
        between = torch.linalg.vector_norm(rows[part] - centers[groups[part]], dim=1)
        distances[part.numpy()] = between.numpy()
    return distances
