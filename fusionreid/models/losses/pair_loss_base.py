"""What the losses share that compare the images of a batch with each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from .gathered_batch import gather_batches

MINING = ('local', 'global')

Compute = TypeVar('Compute', bound=Callable[..., Tensor])


def at_least_float32(compute: Compute) -> Compute:
    """Make a function of features compute half-precision ones in float32, under autocast too.

    Args:
        compute: Function whose first argument are features.

    Returns:
        The function with that behavior.

    Example:
        >>> at_least_float32(torch.sum)(torch.ones(3, dtype=torch.bfloat16))
        tensor(3.)
    """

    @wraps(compute)
    def in_float32(features: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            wide = features.to(torch.promote_types(features.dtype, torch.float32))
            return compute(wide, *args, **kwargs)

    return cast(Compute, in_float32)


class PairLoss(nn.Module, ABC):
    """A loss that compares the images of a batch with each other.

    Args:
        loss_weight: Factor of the loss. Defaults to 1.
        mining: ``'local'`` (default) for the batch of each process, ``'global'`` for the batches of
            all; see :class:`~fusionreid.models.losses.BatchHardTripletLoss`.

    Raises:
        ValueError: If the mining is unknown.
    """

    def __init__(self, loss_weight: float = 1.0, mining: str = 'local') -> None:
        super().__init__()
        if mining not in MINING:
            raise ValueError(f'the mining must be one of {MINING}, got {mining!r}')
        self.loss_weight = loss_weight
        self.mining = mining

    def forward(self, features: Tensor, ids: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            features: Features of this process, of shape ``(B, D)``.
            ids: Identities of shape ``(B,)``.

        Returns:
            The weighted loss, a scalar.
        """
        if self.mining == 'global':
            features, ids = gather_batches(features, ids)
        return self.loss_weight * self.compare(features, ids)

    @abstractmethod
    def compare(self, features: Tensor, ids: Tensor) -> Tensor:
        """Compute the loss of a batch, unweighted.

        Args:
            features: Features of shape ``(B, D)``.
            ids: Identities of shape ``(B,)``.

        Returns:
            A scalar.
        """
