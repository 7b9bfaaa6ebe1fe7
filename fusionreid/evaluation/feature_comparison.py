"""What each feature of a model, and their concatenation, is worth."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .feature_set import ALL, FeatureSet
from .functional import RankingResult, evaluate_ranking
from .scoring_errors import scoring_errors

# The concatenation of features of length 1 each; ``all`` is normalized once, over the whole vector.
ALL_EACH_NORMALIZED = 'all_each_normalized'


def compare_features(
    feature_set: FeatureSet, remove_same_camera: bool = True
) -> dict[str, RankingResult]:
    """Rank by every feature alone and by their concatenation in two ways.

    Every vector that is ranked by has length 1. The paper (arXiv 2412.17239) normalizes the
    concatenation once, so that a feature with larger values weighs more; with
    ``all_each_normalized`` all features weigh the same.

    Args:
        feature_set: Features of queries and gallery.
        remove_same_camera: Whether gallery images of the query's identity and camera are removed
            first.

    Returns:
        Result by name: the features in column order, ``all``, ``all_each_normalized``. A single
        feature has no concatenations.

    Raises:
        ScoringError: If there is no query, no gallery image, no query with a match, or a feature
            that is zero.

    Example:
        >>> feature_set = FeatureSet(
        ...     features=torch.tensor([[1.0, 0.0, 9.0], [1.0, 0.1, 9.0], [0.0, 1.0, 9.0]]),
        ...     widths={'cnn': 2, 'transformer': 1},
        ...     person_ids=torch.tensor([7, 8, 7]),
        ...     camera_ids=torch.tensor([0, 1, 1]),
        ...     roles=['query', 'gallery', 'gallery'],
        ...     img_paths=['a.jpg', 'b.jpg', 'c.jpg'],
        ... )
        >>> {name: result.mAP for name, result in compare_features(feature_set).items()}
        {'cnn': 0.5, 'transformer': 0.5, 'all': 0.5, 'all_each_normalized': 0.5}
    """
    query, gallery = feature_set.query_and_gallery()
    names = list(feature_set.names)
    if len(names) > 1:
        names += [ALL, ALL_EACH_NORMALIZED]
    results = {}
    for name in names:
        vectors = _unit_vectors(feature_set, name)
        with scoring_errors():
            results[name] = evaluate_ranking(
                vectors[query],
                vectors[gallery],
                feature_set.person_ids[query],
                feature_set.person_ids[gallery],
                feature_set.camera_ids[query],
                feature_set.camera_ids[gallery],
                remove_same_camera=remove_same_camera,
            )
    return results


def _unit_vectors(feature_set: FeatureSet, name: str) -> Tensor:
    if name != ALL_EACH_NORMALIZED:
        return feature_set.unit_rows(name)
    each_normalized = [feature_set.unit_rows(name) for name in feature_set.names]
    return normalize(torch.cat(each_normalized, dim=1))


def weigh_features(feature_set: FeatureSet) -> dict[str, float]:
    """Measure each feature's share of the concatenation that is normalized once.

    Args:
        feature_set: The features.

    Returns:
        By feature, its part of the squared length of the concatenation, averaged over the images;
        in [0, 1], 1 in total.

    Example:
        >>> feature_set = FeatureSet(
        ...     features=torch.tensor([[3.0, 4.0]]),
        ...     widths={'cnn': 1, 'transformer': 1},
        ...     person_ids=torch.tensor([7]),
        ...     camera_ids=torch.tensor([0]),
        ...     roles=['query'],
        ...     img_paths=['a.jpg'],
        ... )
        >>> {name: round(share, 2) for name, share in weigh_features(feature_set).items()}
        {'cnn': 0.36, 'transformer': 0.64}
    """
    whole = normalize(feature_set.select(ALL).double())
    blocks = whole.split(list(feature_set.widths.values()), dim=1)
    return {
        name: float(block.square().sum(1).mean())
        for name, block in zip(feature_set.names, blocks, strict=True)
    }


def headline_scores(result: RankingResult) -> dict[str, float]:
    """Pick the scores that the tables show.

    Args:
        result: A ranking.

    Returns:
        ``mAP``, ``Rank-1`` and ``mINP``, in percent.
    """
    return {
        'mAP': 100 * result.mAP,
        'Rank-1': 100 * float(result.cmc[0]),
        'mINP': 100 * result.mINP,
    }
