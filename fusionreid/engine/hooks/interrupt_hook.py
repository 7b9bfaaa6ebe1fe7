"""Continuing an interrupted epoch, and stopping during a validation."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from fusionreid.errors import ConfigError
from fusionreid.registry import HOOKS

from ..loops.interruptible_train_loop import InterruptibleTrainLoop
from ..loops.interruption import Interruption


@HOOKS.register_module()
class InterruptHook(Hook):
    """Tells an interruptible training loop what it is not told by MMEngine.

    That is what the checkpoint of an interrupted epoch says, and the batches of a validation. A
    loop of another kind, which would repeat the epoch on top of its own result, is refused.
    """

    priority = 'LOWEST'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Hand on how far the interrupted epoch was.

        Args:
            runner: The runner.
            checkpoint: What was loaded.

        Raises:
            ConfigError: If the training loop cannot continue in an epoch.
        """
        interrupted = checkpoint.get('meta', {}).get('interrupted')
        if not runner._resume or interrupted is None:
            return
        if isinstance(runner.train_loop, InterruptibleTrainLoop):
            runner.train_loop.continue_epoch(interrupted)
        elif interrupted['batches_done']:
            raise ConfigError(
                f'{runner._load_from} was saved within an epoch, where '
                f'{type(runner.train_loop).__name__} cannot go on: resume it with fusionreid '
                "train, or with type='InterruptibleTrainLoop' instead of by_epoch=True in "
                'train_cfg'
            )

    def before_val_epoch(self, runner: Runner) -> None:
        """Prepare for :meth:`after_val_iter`.

        Args:
            runner: The runner.
        """
        if isinstance(runner._train_loop, Interruption):
            runner._train_loop.begin_validation()

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop after a batch if that was asked for.

        Args:
            runner: The runner.
            batch_idx: Number of the batch, from 0.
            data_batch: The batch.
            outputs: What the model made of it.
        """
        if isinstance(runner._train_loop, Interruption):
            runner._train_loop.stop_validation_if_asked(batch_idx)
