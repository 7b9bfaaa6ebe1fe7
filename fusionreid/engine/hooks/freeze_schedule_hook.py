"""Parts of the model that begin to learn later than the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fusionreid.errors import ConfigError
from fusionreid.registry import HOOKS


@HOOKS.register_module()
class FreezeScheduleHook(Hook):
    """Keeps parts of the model as they are for their first epochs.

    A frozen part gets no gradient and is in evaluation mode: neither its parameters nor the running
    statistics of its batch norms move, nothing is dropped in it, and the optimizer, its weight
    decay included, passes it over. Its state in the optimizer begins with its first step. What is
    frozen follows from the epoch alone, so that a resumed run goes on as if it had not stopped.

    Args:
        frozen_epochs: Names of parts, as in ``model.named_modules()``, to the number of their first
            epochs without learning, from 1; e.g. ``{'branches': 5}``, or ``{'branches.cnn': 2,
            'branches.transformer.backbone.layers.0': 10}``. A part inside of a frozen part is
            frozen, too.

    Raises:
        ValueError: If no part is named, or a number of epochs is less than 1.
    """

    # Before all that look at gradients or modes.
    priority = 'VERY_HIGH'

    def __init__(self, frozen_epochs: Mapping[str, int]) -> None:
        if not frozen_epochs:
            raise ValueError('frozen_epochs must name a part of the model')
        for name, epochs in frozen_epochs.items():
            if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
                raise ValueError(
                    f'frozen_epochs of {name!r} must be a whole number from 1 on, got {epochs!r}'
                )
        self.frozen_epochs = dict(frozen_epochs)
        self._parts: dict[str, nn.Module] = {}
        self._learning: list[nn.Parameter] = []
        self._frozen: list[str] | None = None

    def before_train(self, runner: Runner) -> None:
        """Find the parts.

        Args:
            runner: The runner.

        Raises:
            ConfigError: If a part is unknown, the training does not go by epochs, or several
                processes would wait for gradients that do not come.
        """
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ConfigError('FreezeScheduleHook counts epochs: set train_cfg.by_epoch=True')
        model: Any = runner.model
        if is_model_wrapper(model):
            if not isinstance(model, DistributedDataParallel) or not model.find_unused_parameters:
                raise ConfigError(
                    'FreezeScheduleHook with several processes needs '
                    'find_unused_parameters=True in the config, since frozen parts get no gradient'
                )
            if model.static_graph:
                raise ConfigError(
                    'FreezeScheduleHook changes which parameters learn: set static_graph=False'
                )
            model = model.module
        known = dict(model.named_modules())
        for name in self.frozen_epochs:
            if not name or name not in known:
                parent = known.get(name.rpartition('.')[0], model)
                parts = ', '.join(child for child, _ in parent.named_children())
                raise ConfigError(
                    f'FreezeScheduleHook: the model has no part {name!r}; there are {parts}'
                )
        self._parts = {name: known[name] for name in self.frozen_epochs}
        self._learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._frozen = None

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None
    ) -> None:
        """Freeze what is frozen in this epoch; the rest learns.

        Args:
            runner: The runner.
            batch_idx: Ignored.
            data_batch: Ignored.

        Raises:
            ConfigError: If everything is frozen.
        """
        frozen = [name for name, epochs in self.frozen_epochs.items() if runner.epoch < epochs]
        if frozen != self._frozen:
            self._set_gradients(runner, frozen)
            self._frozen = frozen
        # The loop sets the mode of the whole model at the start of an epoch.
        for name in frozen:
            self._parts[name].train(False)

    def after_train(self, runner: Runner) -> None:
        """Leave the model as it was.

        Args:
            runner: Ignored.
        """
        for parameter in self._learning:
            parameter.requires_grad_(True)

    def _set_gradients(self, runner: Runner, frozen: list[str]) -> None:
        kept = {id(value) for name in frozen for value in self._parts[name].parameters()}
        for parameter in self._learning:
            parameter.requires_grad_(id(parameter) not in kept)
        learning = [parameter for parameter in self._learning if parameter.requires_grad]
        if not learning:
            raise ConfigError(
                f'FreezeScheduleHook: nothing learns in epoch {runner.epoch + 1}, since '
                f'{", ".join(frozen)} is all that has parameters'
            )
        runner.logger.info(
            f'from epoch {runner.epoch + 1} on: {", ".join(frozen) or "nothing"} frozen, '
            f'{_count(learning):,} of {_count(self._learning):,} parameters learn'
        )


def _count(parameters: list[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
