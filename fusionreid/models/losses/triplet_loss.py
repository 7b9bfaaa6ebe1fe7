"""Batch-hard triplet loss: mining and loss as functions of tensors, and the module around them.

Needs torch alone, like all losses: the package registers them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .pair_loss_base import PairLoss, at_least_float32


def pairwise_euclidean(features: Tensor) -> Tensor:
    """Return the Euclidean distances between all rows.

    Args:
        features: Float tensor of shape ``(B, D)``.

    Returns:
        Distances of shape ``(B, B)``, at least 1e-6 so that the square root has a finite gradient.

    Example:
        >>> pairwise_euclidean(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))[0, 1]
        tensor(5.)
    """
    squares = features.square().sum(1)
    squared = squares[:, None] + squares[None, :] - 2 * features @ features.t()
    return squared.clamp(min=1e-12).sqrt()


def batch_hard_distances(distances: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the farthest positive and the nearest negative of every anchor.

    From "In Defense of the Triplet Loss" (arXiv 1703.07737). An anchor counts among its own
    positives, so an identity with a single image has a positive distance of about 0.

    Args:
        distances: Distances of shape ``(B, B)``.
        ids: Identities of shape ``(B,)``.

    Returns:
        Farthest positive distance, nearest negative distance (infinite where there is none) and
        whether the anchor has a negative; each of shape ``(B,)``.

    Example:
        >>> distances = torch.tensor([[0.0, 2.0, 3.0], [2.0, 0.0, 1.0], [3.0, 1.0, 0.0]])
        >>> batch_hard_distances(distances, torch.tensor([7, 7, 8]))
        (tensor([2., 2., 0.]), tensor([3., 1., 1.]), tensor([True, True, True]))
    """
    same = ids[:, None] == ids[None, :]
    positive = distances.masked_fill(~same, float('-inf')).amax(1)
    negative = distances.masked_fill(same, float('inf')).amin(1)
    return positive, negative, ~same.all(1)


@at_least_float32
def batch_hard_triplet_loss(features: Tensor, ids: Tensor, margin: float | None = None) -> Tensor:
    """Compute the batch-hard triplet loss on un-normalized features.

    Args:
        features: Features of shape ``(B, D)``; half-precision ones are computed in float32.
        ids: Identities of shape ``(B,)``.
        margin: None for the soft margin ``log(1 + exp(d_ap - d_an))``, else ``max(0, d_ap - d_an +
            margin)``.

    Returns:
        Scalar mean over the anchors that have a negative; 0 when none has.

    Example:
        >>> features = torch.tensor([[0.0], [1.0], [5.0], [6.0]])
        >>> batch_hard_triplet_loss(features, torch.tensor([0, 0, 1, 1]), margin=4.0)
        tensor(0.5000)
    """
    distances = pairwise_euclidean(features)
    positive, negative, valid = batch_hard_distances(distances, ids)
    # An anchor without a negative has an infinite distance: replaced before the loss, since inf
    # * 0 is NaN.
    gap = torch.where(valid, positive - negative, torch.zeros_like(positive))
    losses = F.softplus(gap) if margin is None else F.relu(gap + margin)
    return (losses * valid).sum() / valid.sum().clamp(min=1)


class BatchHardTripletLoss(PairLoss):
    """Batch-hard triplet loss with a soft or a fixed margin; see :func:`batch_hard_triplet_loss`.

    Args:
        margin: None (default) for the soft margin, else a fixed margin, at least 0, in units of
            feature distance.
        loss_weight: Factor of the loss. Defaults to 1.
        mining: Where positives and negatives come from when several processes train: ``'local'``
            (default), each process's own batch, or ``'global'``, the batches of all of them. Under
            DistributedDataParallel the latter gives loss and gradient of one process on the joined
            batch; see :func:`~fusionreid.models.losses.gathered_batch.gather_batches`.

    Raises:
        ValueError: If the margin is negative or the mining unknown.
    """

    def __init__(
        self, margin: float | None = None, loss_weight: float = 1.0, mining: str = 'local'
    ) -> None:
        super().__init__(loss_weight, mining)
        if margin is not None and margin < 0:
            raise ValueError(f'the triplet margin must be None or at least 0, got {margin}')
        self.margin = margin

    def compare(self, features: Tensor, ids: Tensor) -> Tensor:
        """Compute the unweighted loss; see :meth:`PairLoss.compare`."""
        return batch_hard_triplet_loss(features, ids, self.margin)
