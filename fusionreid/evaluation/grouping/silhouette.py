"""Finds where to cut a history of merges: where photos are much nearer to their own group."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..functional.errors import ScoringInputError
from .merges import Merges

# Cuts that are compared, evenly spread in the logarithm of the number of groups.
NUM_CUTS = 40
# From two groups to this share of the photos.
MOST_GROUPS = 0.8
# Photos that are looked at; evenly spread over all.
SAMPLE = 1000
TILE_BYTES = 64 << 20


def find_threshold(merges: Merges, features: Tensor) -> float:
    """Choose the distance at which the simplified silhouette is largest.

    The silhouette of a photo is ``1 - a / b``: ``a`` is its distance to the center of its own group
    and ``b`` that to the nearest other one (Hruschka et al., 2006); 0 for a photo alone. Nobody
    needs to be known. It cannot find out that all photos show one person, nor that all show
    different ones.

    Args:
        merges: The merges.
        features: (N, D) float32.

    Returns:
        Half-way between the last merge that is made and the first that is not.

    Raises:
        ScoringInputError: If there are too few photos or merges, or all distances are the same.
    """
    count = merges.size
    reach = np.maximum.accumulate(merges.distances)
    most = int(min(count * MOST_GROUPS, count - 1))
    numbers = np.unique(np.geomspace(2, max(most, 2), NUM_CUTS).round().astype(int))
    # A cut lies between two merges of different distances.
    cuts = count - numbers
    cuts = cuts[(cuts >= 1) & (cuts < len(merges))]
    cuts = cuts[reach[cuts] > reach[cuts - 1]]
    if not len(cuts):
        raise ScoringInputError(
            f'{count} photos are too few, or too much alike, to find out which distance means '
            f'another person: give it (--max-distance)'
        )
    rows = torch.linspace(0, count - 1, min(count, SAMPLE)).round().long()
    scores = [_silhouette(merges.groups(int(cut)), features, rows) for cut in cuts]
    best = int(cuts[int(np.argmax(scores))])
    return float((reach[best - 1] + reach[best]) / 2)


def group_centers(groups: Tensor, features: Tensor, count: int) -> Tensor:
    """Mean feature of each group.

    Args:
        groups: Group of each photo, (N,) int64, 0..count - 1.
        features: (N, D) float32.
        count: Number of groups.

    Returns:
        (count, D) float32.
    """
    sums = features.new_zeros(count, features.shape[1]).index_add_(0, groups, features)
    return sums / torch.bincount(groups, minlength=count).clamp_min(1)[:, None]


def _silhouette(labels: np.ndarray, features: Tensor, rows: Tensor) -> float:
    """Mean silhouette of some photos."""
    groups = torch.from_numpy(labels)
    count = int(groups.max()) + 1
    centers = group_centers(groups, features, count)
    sizes = torch.bincount(groups, minlength=count)
    total = 0.0
    for part in rows.split(max(1, TILE_BYTES // (4 * count))):
        own = groups[part, None]
        distances = torch.cdist(features[part], centers)
        inside = distances.gather(1, own).squeeze(1)
        outside = distances.scatter_(1, own, torch.inf).amin(1)
        score = (outside - inside) / torch.maximum(outside, inside).clamp_min(1e-12)
        total += float(score[sizes[own.squeeze(1)] > 1].sum())
    return total / len(rows)
