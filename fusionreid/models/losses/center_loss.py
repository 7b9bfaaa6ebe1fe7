"""Center loss: features of a person are drawn to their mean, which is learned beside them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .gathered_batch import gather_batches


class CenterLoss(nn.Module):
    """Half the mean squared distance of features to the center of their identity.

    From "A Discriminative Feature Learning Approach for Deep Face Recognition" (ECCV 2016). In each
    training step the centers move as there (equation 4): by ``rate`` times the summed difference to
    their features in the batch, over one more than their number. They are no parameters, so that
    neither the optimizer nor the weight of the loss changes their pace; with several processes they
    move with the images of all.

    Args:
        num_classes: Identities in the training set.
        in_channels: Width D of the feature.
        rate: Pace of the centers, in (0, 1]. Defaults to 0.5.
        loss_weight: Factor of the loss. Defaults to 5e-4, as in "Bag of Tricks" (arXiv 1903.07071).

    Raises:
        ValueError: If the rate is not in (0, 1].

    Example:
        >>> loss = CenterLoss(num_classes=2, in_channels=1, loss_weight=1.0)
        >>> loss(torch.tensor([[2.0], [4.0]]), torch.tensor([1, 1]))  # the centers begin at 0
        tensor(5.)
        >>> loss.centers[:, 0]
        tensor([0., 1.])
    """

    centers: Tensor

    def __init__(
        self, num_classes: int, in_channels: int, rate: float = 0.5, loss_weight: float = 5e-4
    ) -> None:
        super().__init__()
        if not 0 < rate <= 1:
            raise ValueError(f'the rate of the centers must be in (0, 1], got {rate}')
        self.rate = rate
        self.loss_weight = loss_weight
        self.register_buffer('centers', torch.zeros(num_classes, in_channels))

    def forward(self, features: Tensor, ids: Tensor) -> Tensor:
        """Compute the loss, and move the centers when training.

        Args:
            features: Features of this process, of shape ``(B, D)``.
            ids: Identities of shape ``(B,)``, in ``[0, num_classes)``.

        Returns:
            The weighted loss, a scalar.
        """
        own = self.centers.index_select(0, ids)  # a copy, which the centers' move leaves alone
        loss = (features - own).square().sum(1).mean() / 2
        if self.training:
            with torch.no_grad():
                self._move(*gather_batches(features.detach(), ids))
        return self.loss_weight * loss

    def _move(self, features: Tensor, ids: Tensor) -> None:
        features = features.to(self.centers.dtype)
        ones = torch.ones_like(ids, dtype=features.dtype)
        counts = ones.new_zeros(len(self.centers)).index_add(0, ids, ones)
        sums = torch.zeros_like(self.centers).index_add(0, ids, features)
        difference = counts[:, None] * self.centers - sums
        self.centers -= self.rate * difference / (1 + counts[:, None])
