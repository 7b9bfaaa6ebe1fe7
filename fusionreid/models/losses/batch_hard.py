"""Batch-hard mining and its triplet loss: functions of tensors, which need torch alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def pairwise_euclidean(features: Tensor) -> Tensor:
    """Return the Euclidean distances between all rows.

    Args:
        features: Float tensor of shape ``(B, D)``.

    Returns:
        Distances of shape ``(B, B)``, at least 1e-6 so that the square root has a finite gradient.
    """
    squares = features.square().sum(1)
    squared = squares[:, None] + squares[None, :] - 2 * features @ features.t()
    return squared.clamp(min=1e-12).sqrt()


def batch_hard_distances(distances: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the farthest positive and the nearest negative of every anchor ("In Defense of the
    Triplet Loss", arXiv 1703.07737).

    An anchor counts among its own positives, so an identity with a single image has a positive
    distance of about 0.

    Args:
        distances: Distances of shape ``(B, B)``.
        ids: Identities of shape ``(B,)``.

    Returns:
        Farthest positive distance, nearest negative distance (infinite where there is none) and
        whether the anchor has a negative; each of shape ``(B,)``.
    """
    same = ids[:, None] == ids[None, :]
    positive = distances.masked_fill(~same, float('-inf')).amax(1)
    negative = distances.masked_fill(same, float('inf')).amin(1)
    return positive, negative, ~same.all(1)


def batch_hard_triplet_loss(features: Tensor, ids: Tensor, margin: float | None = None) -> Tensor:
    """Compute the batch-hard triplet loss on un-normalised features.

    Args:
        features: Features of shape ``(B, D)``; half-precision ones are computed in float32.
        ids: Identities of shape ``(B,)``.
        margin: None for the soft margin ``log(1 + exp(d_ap - d_an))``, else ``max(0, d_ap - d_an +
            margin)``.

    Returns:
        Scalar mean over the anchors that have a negative; 0 when none has.
    """
    with torch.autocast(features.device.type, enabled=False):
        wide = features.to(torch.promote_types(features.dtype, torch.float32))
        distances = pairwise_euclidean(wide)
        positive, negative, valid = batch_hard_distances(distances, ids)
        # An anchor without a negative has an infinite distance: replaced before the loss, since inf
        # * 0 is NaN.
        gap = torch.where(valid, positive - negative, torch.zeros_like(positive))
        losses = F.softplus(gap) if margin is None else F.relu(gap + margin)
        return (losses * valid).sum() / valid.sum().clamp(min=1)
