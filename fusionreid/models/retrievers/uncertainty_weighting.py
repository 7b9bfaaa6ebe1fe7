"""Weights of many losses that are learned with the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class UncertaintyWeighting(nn.Module):
    """Weigh losses by learned uncertainties (Kendall et al., arXiv 1705.07115).

    A loss L becomes ``exp(-s) L + s / 2`` with a learned log variance ``s``, which begins at 0,
    where the sum of all is the unweighted one. The result may be negative.

    Args:
        names: Names of the losses.

    Example:
        >>> weighting = UncertaintyWeighting(['loss_id', 'loss_triplet'])
        >>> _ = weighting.log_variances.data[1].fill_(2.0)
        >>> losses = dict(loss_id=torch.tensor(6.0), loss_triplet=torch.tensor(0.0))
        >>> {name: round(loss.item(), 3) for name, loss in weighting(losses).items()}
        {'loss_id': 6.0, 'loss_triplet': 1.0}
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.log_variances = nn.Parameter(torch.zeros(len(self.names)))

    def forward(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weigh the losses of a step.

        Args:
            losses: Scalars by name, all of them.

        Returns:
            Weighted scalars by name.
        """
        return {
            name: torch.exp(-log_variance) * losses[name] + log_variance / 2
            for name, log_variance in zip(self.names, self.log_variances, strict=True)
        }
