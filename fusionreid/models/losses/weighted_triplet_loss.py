"""Weighted regularized triplet loss: all pairs of an anchor, the hard ones weighing most."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from .pair_loss_base import PairLoss, at_least_float32
from .triplet_loss import pairwise_euclidean


@at_least_float32
def weighted_triplet_loss(features: Tensor, ids: Tensor) -> Tensor:
    """Compute the weighted regularized triplet loss (AGW, arXiv 2001.04193, equation 8).

    ``log(1 + exp(sum_p w_p d_p - sum_n w_n d_n))``, where the weights are the softmax of the
    distances to the positives and of the negated distances to the negatives. As in the authors'
    code, an anchor counts among its own positives.

    Args:
        features: Features of shape ``(B, D)``; half-precision ones are computed in float32.
        ids: Identities of shape ``(B,)``.

    Returns:
        Scalar mean over the anchors that have a negative; 0 when none has.

    Example:
        >>> import torch
        >>> features = torch.tensor([[0.0], [0.0], [3.0]])
        >>> weighted_triplet_loss(features, torch.tensor([0, 0, 1]))  # log(1 + exp(-3))
        tensor(0.0486)
    """
    distances = pairwise_euclidean(features)
    same = ids[:, None] == ids[None, :]
    valid = ~same.all(1)
    far = (distances.masked_fill(~same, float('-inf')).softmax(1) * distances).sum(1)
    # A row without a negative would be all -inf, whose softmax is NaN.
    nearness = (-distances).masked_fill(same & valid[:, None], float('-inf'))
    near = (nearness.softmax(1) * distances).sum(1)
    return (F.softplus(far - near) * valid).sum() / valid.sum().clamp(min=1)


class WeightedTripletLoss(PairLoss):
    """Weighted regularized triplet loss, without a margin; see :func:`weighted_triplet_loss`.

    Args:
        loss_weight: Factor of the loss. Defaults to 1.
        mining: ``'local'`` (default) or ``'global'``, as of
            :class:`~fusionreid.models.losses.BatchHardTripletLoss`.

    Raises:
        ValueError: If the mining is unknown.
    """

    def compare(self, features: Tensor, ids: Tensor) -> Tensor:
        """Compute the unweighted loss; see :meth:`PairLoss.compare`."""
        return weighted_triplet_loss(features, ids)
