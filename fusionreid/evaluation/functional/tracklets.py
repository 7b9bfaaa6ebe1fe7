"""Features of tracklets: the mean over their images."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import ScoringInputError


def mean_of_tracklets(features: Tensor, tracklets: Tensor) -> tuple[Tensor, Tensor]:
    """Average the features of each tracklet.

    Args:
        features: (n, d) floating point.
        tracklets: (n,) int64, the tracklet of each image.

    Returns:
        The means, (t, d) in the type of ``features``, and the row of each tracklet's first image,
        (t,) int64 on the CPU; in the order in which the tracklets occur first.

    Raises:
        ScoringInputError: There is not one tracklet number for each image.

    Example:
        >>> features = torch.tensor([[1.0], [5.0], [3.0]])
        >>> means, first = mean_of_tracklets(features, torch.tensor([8, 2, 8]))
        >>> means.tolist(), first.tolist()
        ([[2.0], [5.0]], [0, 1])
    """
    if tracklets.shape != features.shape[:1]:
        raise ScoringInputError(
            f'tracklets have shape {tuple(tracklets.shape)}, expected ({len(features)},)'
        )
    _, group, counts = tracklets.cpu().unique(return_inverse=True, return_counts=True)
    rows = torch.arange(len(group))
    first = torch.full((len(counts),), len(group)).scatter_reduce(0, group, rows, 'amin')
    first, order = first.sort()
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    sums = features.new_zeros(len(counts), features.shape[1])
    sums.index_add_(0, place[group].to(features.device), features)
    return sums / counts[order, None].to(sums), first
