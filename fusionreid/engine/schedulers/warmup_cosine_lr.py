"""The published recipe's learning rate over the epochs, as a formula and as a scheduler."""

from __future__ import annotations

import math

from mmengine.optim import _ParamScheduler
from torch.optim import Optimizer

from fusionreid.errors import ConfigError
from fusionreid.registry import PARAM_SCHEDULERS


def warmup_cosine_factor(
    epoch: int, num_epochs: int, warmup_epochs: int, warmup_factor: float, final_factor: float
) -> float:
    """Return the share of the base learning rate in an epoch.

    Linear from ``warmup_factor`` at epoch 0 towards 1 at ``warmup_epochs``; from there on the
    cosine that runs from 1 at epoch 0 to ``final_factor`` at ``num_epochs``, as if there had been
    no warm-up.

    Args:
        epoch: Epoch, counted from 1 as in the published recipe.
        num_epochs: Epochs of the whole training.
        warmup_epochs: First epoch that is on the cosine.
        warmup_factor: Where the warm-up starts, as a share of the base rate.
        final_factor: Where the cosine ends, as a share of the base rate.

    Returns:
        Share of the base rate.

    Example:
        >>> epochs = (0, 5, 10, 180)
        >>> [round(warmup_cosine_factor(epoch, 180, 10, 0.01, 0.002), 4) for epoch in epochs]
        [0.01, 0.505, 0.9924, 0.002]
    """
    if epoch < warmup_epochs:
        return warmup_factor + (1 - warmup_factor) * epoch / warmup_epochs
    cosine = 0.5 * (1 + math.cos(math.pi * min(epoch, num_epochs) / num_epochs))
    return final_factor + (1 - final_factor) * cosine


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(_ParamScheduler):
    """Learning rate of the published recipe: linear warm-up and a cosine, one value per epoch.

    Args:
        optimizer: The optimizer or optimizer wrapper.
        end: Epochs of the whole training; the Runner fills in its own number.
        warmup_epochs: First epoch (counted from 1) that is on the cosine. Defaults to 10.
        warmup_factor: Where the warm-up starts, as a share of the base rate. Defaults to 0.01.
        final_factor: Where the cosine ends, as a share of the base rate. Defaults to 0.002.
        last_step: Epochs done, for resuming. Defaults to -1.
        verbose: Whether every change is printed. Defaults to False.

    Raises:
        ConfigError: If the warm-up is longer than the training.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        >>> scheduler = WarmupCosineLR(optimizer, end=180)
        >>> round(optimizer.param_groups[0]['lr'], 4)  # of epoch 1
        0.0109
    """

    def __init__(
        self,
        optimizer: Optimizer,
        end: int,
        warmup_epochs: int = 10,
        warmup_factor: float = 0.01,
        final_factor: float = 0.002,
        last_step: int = -1,
        verbose: bool = False,
    ) -> None:
        if not 0 <= warmup_epochs <= end:
            raise ConfigError(
                f'warmup_epochs={warmup_epochs} is not in [0, {end}], the epochs of the training: '
                'set param_scheduler.warmup_epochs'
            )
        self.shape = (end, warmup_epochs, warmup_factor, final_factor)
        super().__init__(optimizer, 'lr', end=end, last_step=last_step, verbose=verbose)

    def _get_value(self) -> list[float]:
        factor = warmup_cosine_factor(self.last_step + 1, *self.shape)
        return [base * factor for base in self.base_values]
