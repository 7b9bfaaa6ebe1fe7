"""Supervised contrastive loss: every other image of a person against the whole batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .pair_loss_base import PairLoss, at_least_float32


@at_least_float32
def supcon_loss(features: Tensor, ids: Tensor, temperature: float = 0.1) -> Tensor:
    """Compute the supervised contrastive loss of cosines (arXiv 2004.11362, equation 2).

    Args:
        features: Features of shape ``(B, D)``, of any length; half-precision ones are computed in
            float32.
        ids: Identities of shape ``(B,)``.
        temperature: Divisor of the cosines, above 0.

    Returns:
        Scalar mean over the anchors that have another image of their identity; 0 when none has.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
        >>> supcon_loss(features, torch.tensor([5, 5, 6]), temperature=1.0)  # log(1 + exp(-2))
        tensor(0.1269)
    """
    features = F.normalize(features)
    itself = torch.eye(len(ids), dtype=torch.bool, device=ids.device)
    logits = (features @ features.t() / temperature).masked_fill(itself, float('-inf'))
    positive = (ids[:, None] == ids[None, :]) & ~itself
    counts = positive.sum(1)
    logs = torch.where(positive, logits - logits.logsumexp(1, keepdim=True), 0.0)
    losses = -logs.sum(1) / counts.clamp(min=1)
    return losses.sum() / (counts > 0).sum().clamp(min=1)


class SupConLoss(PairLoss):
    """Supervised contrastive loss; see :func:`supcon_loss`.

    Args:
        temperature: Divisor of the cosines, above 0. Defaults to 0.1.
        loss_weight: Factor of the loss. Defaults to 1.
        mining: ``'local'`` (default) or ``'global'``, as of
            :class:`~fusionreid.models.losses.BatchHardTripletLoss`.

    Raises:
        ValueError: If the temperature is not above 0, or the mining is unknown.
    """

    def __init__(
        self, temperature: float = 0.1, loss_weight: float = 1.0, mining: str = 'local'
    ) -> None:
        super().__init__(loss_weight, mining)
        if not temperature > 0:
            raise ValueError(f'the temperature must be above 0, got {temperature}')
        self.temperature = temperature

    def compare(self, features: Tensor, ids: Tensor) -> Tensor:
        """Compute the unweighted loss; see :meth:`PairLoss.compare`."""
        return supcon_loss(features, ids, self.temperature)
