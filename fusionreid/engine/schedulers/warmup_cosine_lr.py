"""The published recipe's learning rate over the epochs, as a formula and as a scheduler."""

from __future__ import annotations

import logging
import math
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import _ParamScheduler
from torch.optim import Optimizer

from fusionreid.errors import ConfigError
from fusionreid.registry import PARAM_SCHEDULERS

# Below this length the last epoch of the published cosine is a half or all of the training.
MIN_PUBLISHED_EPOCHS = 3
# What distinguishes the state of this scheduler from that of another.
STATE_KEYS = ('base_values', 'warmup_epochs', 'warmup_rates', 'final_rates')


def warmup_cosine_rate(
    epoch: int,
    num_epochs: int,
    warmup_epochs: int,
    base_rate: float,
    warmup_rate: float,
    final_rate: float,
) -> float:
    """Return the learning rate in an epoch.

    Linear from ``warmup_rate`` at epoch 0 towards ``base_rate`` at ``warmup_epochs``; from there on
    the cosine that runs from ``base_rate`` at epoch 0 to ``final_rate`` at ``num_epochs``, as if
    there had been no warm-up. The last epoch is thus trained at the final rate. A training of one
    or two epochs would spend most of its updates there, so it takes the cosine one epoch earlier
    and starts at the base rate.

    Args:
        epoch: Epoch, counted from 1 as in the published recipe.
        num_epochs: Epochs of the whole training.
        warmup_epochs: First epoch that is on the cosine.
        base_rate: Rate that the warm-up leads to.
        warmup_rate: Rate at which the warm-up starts.
        final_rate: Rate at which the cosine ends.

    Returns:
        The learning rate.

    Example:
        >>> epochs = (0, 5, 10, 180)
        >>> [round(warmup_cosine_rate(epoch, 180, 10, 1.0, 0.01, 0.002), 4) for epoch in epochs]
        [0.01, 0.505, 0.9924, 0.002]
        >>> [round(warmup_cosine_rate(epoch, 2, 0, 1.0, 0.01, 0.002), 4) for epoch in (1, 2)]
        [1.0, 0.501]
    """
    if epoch < warmup_epochs:
        return warmup_rate + (base_rate - warmup_rate) * epoch / warmup_epochs
    if num_epochs < MIN_PUBLISHED_EPOCHS:
        epoch -= 1
    cosine = 0.5 * (1 + math.cos(math.pi * min(epoch, num_epochs) / num_epochs))
    return final_rate + (base_rate - final_rate) * cosine


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(_ParamScheduler):
    """Learning rate of the published recipe: linear warm-up and a cosine, one value per epoch.

    Parameter groups may have base rates of their own, as the biases do in the published recipe.
    Where the warm-up starts and where the cosine ends is the same rate for all groups: a share of
    the optimizer's ``lr``, not of the group's. A group whose base rate is below one of the two has
    its base rate in its place, so no rate exceeds the base rate and a rate of 0 stays 0.

    Args:
        optimizer: The optimizer or optimizer wrapper.
        end: Epochs of the whole training; the Runner fills in its own number.
        warmup_epochs: First epoch (counted from 1) that is on the cosine, in ``[0, end]``. Defaults
            to 10.
        warmup_factor: Where the warm-up starts, as a share of the optimizer's ``lr`` in ``[0, 1]``.
            Defaults to 0.01.
        final_factor: Where the cosine ends, as a share of the optimizer's ``lr`` in ``[0, 1]``.
            Defaults to 0.002.
        last_step: Epochs done, for resuming. Defaults to -1.
        verbose: Whether every change is printed. Defaults to False.

    Raises:
        ConfigError: If the warm-up is longer than the training, or a share is not in ``[0, 1]``.

    Example:
        >>> import torch
        >>> weight, bias = (torch.zeros(1, requires_grad=True) for _ in range(2))
        >>> groups = [dict(params=[weight]), dict(params=[bias], lr=0.2)]
        >>> optimizer = torch.optim.SGD(groups, lr=0.1)
        >>> scheduler = WarmupCosineLR(optimizer, end=180)
        >>> [round(group['lr'], 4) for group in optimizer.param_groups]  # of epoch 1
        [0.0109, 0.0209]
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
        _check_range('warmup_epochs', warmup_epochs, end, 'the epochs of the training')
        _check_range('warmup_factor', warmup_factor, 1, 'a share of the learning rate')
        _check_range('final_factor', final_factor, 1, 'a share of the learning rate')
        self.warmup_epochs = warmup_epochs
        rate = optimizer.defaults['lr']
        # As mmengine's class reads them, which needs the value of the first epoch on construction.
        bases = [group.get('initial_lr', group['lr']) for group in optimizer.param_groups]
        self.warmup_rates = [min(warmup_factor * rate, base) for base in bases]
        self.final_rates = [min(final_factor * rate, base) for base in bases]
        super().__init__(optimizer, 'lr', end=end, last_step=last_step, verbose=verbose)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state.

        Earlier versions saved shares of each group's own base rate in ``shape``. A run that began
        with them goes on with them.

        Args:
            state_dict: State of a scheduler of this class.

        Raises:
            ConfigError: If it is the state of another scheduler.
        """
        state = dict(state_dict)
        if 'shape' in state:
            _, state['warmup_epochs'], warmup_factor, final_factor = state.pop('shape')
            bases = state['base_values']
            state['warmup_rates'] = [base * warmup_factor for base in bases]
            state['final_rates'] = [base * final_factor for base in bases]
            if len(set(bases)) > 1:
                print_log(
                    'the checkpoint is of an earlier version, in which warm-up and cosine of each '
                    'parameter group start and end at shares of its own base rate: this run goes '
                    'on so. Only a new training has the published rates of the biases',
                    logger='current',
                    level=logging.WARNING,
                )
        lacks = [key for key in STATE_KEYS if key not in state]
        if lacks:
            raise ConfigError(
                'the checkpoint holds the state of another schedule than WarmupCosineLR, it lacks '
                f'{", ".join(lacks)}: resume it with the param_scheduler that it was trained with, '
                'or start from its weights alone with --cfg-options load_from=CHECKPOINT and '
                'without --resume'
            )
        super().load_state_dict(state)

    def _get_value(self) -> list[float]:
        shape = (self.last_step + 1, self.end, self.warmup_epochs)
        rates = zip(self.base_values, self.warmup_rates, self.final_rates, strict=True)
        return [warmup_cosine_rate(*shape, *group) for group in rates]


def _check_range(name: str, value: float, largest: float, meaning: str) -> None:
    if not isinstance(value, int | float) or not 0 <= value <= largest:
        raise ConfigError(
            f'{name}={value!r} is not in [0, {largest}], {meaning}: set param_scheduler.{name}'
        )
