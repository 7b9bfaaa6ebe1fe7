"""The nearest gallery images of a few queries: what a picture of rank lists shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .feature_set import FeatureSet
from .functional import top_k
from .metrics.score_table import DISTANCE, describe_data_set, describe_features
from .scoring_errors import scoring_errors

# Gallery images that are normalized and searched at a time.
BLOCK = 4096


@dataclass(frozen=True)
class RankLists:
    """Q queries and the gallery images that were found for them, best first.

    It holds nothing of the images that were not found. The fields are arguments of
    :func:`~fusionreid.visualization.draw_rank_lists`.

    Args:
        query_paths: Image file of each query.
        query_ids: Identity of each query.
        query_cameras: 0-based camera of each query, negative where unknown.
        gallery_paths: Image file of each gallery image that was found, in gallery order.
        gallery_ids: Their identities.
        gallery_cameras: Their 0-based cameras, negative where unknown.
        indices: Positions in ``gallery_paths``, (Q, K) int64; -1 where a query has fewer than K.
        distances: Euclidean distances, (Q, K) float32; infinite at -1.
        average_precision: Average precision of each query in [0, 1].
    """

    query_paths: list[str]
    query_ids: list[int]
    query_cameras: list[int]
    gallery_paths: list[str]
    gallery_ids: list[int]
    gallery_cameras: list[int]
    indices: np.ndarray
    distances: np.ndarray
    average_precision: list[float]


def find_rank_lists(
    feature_set: FeatureSet,
    names: str | Sequence[str],
    chosen: Sequence[int],
    average_precision: Sequence[float],
    k: int,
) -> RankLists:
    """Find the nearest gallery images of some of the queries.

    Gallery images of the query's identity and camera are left out. The gallery is searched in
    blocks, so that the memory on top of the features does not grow with it.

    Args:
        feature_set: Queries and gallery.
        names: Features to rank by, see :meth:`FeatureSet.select`; L2-normalized once over the
            whole vector, as for scoring.
        chosen: Positions of Q queries among all queries.
        average_precision: That of each chosen query, in [0, 1].
        k: Gallery images wanted for each query; all, if there are fewer.

    Returns:
        The lists, in the order of ``chosen``.

    Raises:
        ScoringError: ``k`` is below 1, there is no query or no gallery image, or a feature is bad.
        UnknownFeatureError: A name that the set does not hold.

    Example:
        >>> feature_set = FeatureSet(
        ...     features=torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.2]]),
        ...     widths={'cnn': 2},
        ...     person_ids=torch.tensor([7, 8, 7]),
        ...     camera_ids=torch.tensor([0, 1, 1]),
        ...     roles=['query', 'gallery', 'gallery'],
        ...     img_paths=['a.jpg', 'b.jpg', 'c.jpg'],
        ... )
        >>> lists = find_rank_lists(feature_set, 'cnn', [0], [1.0], k=1)
        >>> lists.gallery_paths, lists.indices.tolist()
        (['c.jpg'], [[0]])
    """
    query, gallery = feature_set.query_and_gallery()
    query = query[torch.tensor(chosen, dtype=torch.int64)]
    people, cameras = feature_set.person_ids, feature_set.camera_ids
    with scoring_errors():
        rows, indices, distances = _search(feature_set, names, query, gallery, k)
    return RankLists(
        query_paths=[feature_set.img_paths[row] for row in query.tolist()],
        query_ids=people[query].tolist(),
        query_cameras=cameras[query].tolist(),
        gallery_paths=[feature_set.img_paths[row] for row in rows.tolist()],
        gallery_ids=people[rows].tolist(),
        gallery_cameras=cameras[rows].tolist(),
        indices=indices.numpy(),
        distances=distances.numpy(),
        average_precision=[float(value) for value in average_precision],
    )


def _search(
    feature_set: FeatureSet, names: str | Sequence[str], query: Tensor, gallery: Tensor, k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows that were found, in gallery order; places in them and distances, (Q, k) each."""
    people, cameras = feature_set.person_ids, feature_set.camera_ids
    features = feature_set.unit_rows(names, query)
    found = gallery[:0]
    for block in gallery.split(BLOCK):
        # What was found so far is searched again, so that the last result is exact as a whole.
        rows = torch.cat([found, block])
        nearest = top_k(
            features,
            feature_set.unit_rows(names, rows),
            min(k, len(rows)),
            query_ids=people[query],
            gallery_ids=people[rows],
            query_cameras=cameras[query],
            gallery_cameras=cameras[rows],
        )
        indices = nearest.indices.cpu()
        kept, places = indices[indices >= 0].unique(return_inverse=True)
        found = rows[kept]
    indices[indices >= 0] = places
    return found, indices, nearest.distances.cpu()


def describe_rank_lists(feature_set: FeatureSet, names: Sequence[str]) -> str:
    """State in one line what was ranked and how.

    Args:
        feature_set: Queries and gallery.
        names: Features that are ranked by.

    Returns:
        Data set, features, distance, and what was left out.
    """
    known = feature_set.protocol
    parts = [
        describe_data_set(known) if known else '',
        describe_features(feature_set, names),
        DISTANCE,
        "the query's own identity seen by its own camera is left out",
    ]
    return '; '.join(part for part in parts if part)
