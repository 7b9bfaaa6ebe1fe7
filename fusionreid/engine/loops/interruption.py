"""What training loops share that stop on Ctrl-C or SIGTERM: agreeing, saving, ending together."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, barrier
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner

from fusionreid.errors import TrainingInterrupted

from ..stop_signals import StopSignals, WorkerShield


class Interruption(BaseLoop):
    """A training loop that finishes its step on Ctrl-C or SIGTERM, saves and ends.

    The processes of a run exchange one number after every step and stop together. With accumulated
    gradients the step is the update. A validation is stopped after a batch.

    A subclass calls :meth:`stop_if_asked` after its steps and says what :meth:`save` saves.

    Args:
        runner: The runner.
        dataloader: Loader of the training set, or its config.
        **kwargs: Further arguments of the loop.
    """

    def __init__(self, runner: Runner, dataloader: Any, **kwargs: Any) -> None:
        if isinstance(dataloader, dict):
            # Loops by iteration start the workers when they are built.
            diff_rank_seed = runner._randomness_cfg.get('diff_rank_seed', False)
            dataloader = runner.build_dataloader(dataloader, runner.seed, diff_rank_seed)
        self._shield = WorkerShield()
        self._shield.cover(dataloader)
        super().__init__(runner, dataloader, **kwargs)
        self._signals = StopSignals()
        self._shared_val_batches = 0

    @abstractmethod
    def save(self) -> Path:
        """Save a checkpoint from which the training goes on; called in all processes."""

    @abstractmethod
    def position(self) -> str:
        """Say where the training stands, in words that follow 'the training was stopped'."""

    def run(self) -> torch.nn.Module:
        """Train.

        Returns:
            The model.

        Raises:
            TrainingInterrupted: After Ctrl-C or SIGTERM, in all processes.
        """
        if self.runner.val_loop is not None:
            self._shield.cover(self.runner.val_dataloader)
        try:
            with self._signals:
                return super().run()
        finally:
            self._shield.drop()

    def stop_if_asked(self) -> None:
        """Save and end if one of the processes was asked to stop.

        Gradients that wait for those of further batches put it off, since no checkpoint holds them.

        Raises:
            TrainingInterrupted: In all processes.
        """
        wrapper = self.runner.optim_wrapper
        if hasattr(wrapper, 'should_update') and not wrapper.should_update():
            return
        if signal := self._agree():
            self._stop(signal, self.position())

    def begin_validation(self) -> None:
        """Learn after how many batches of a validation all processes can still agree to stop."""
        # The last batches of a validation set may not be there for all.
        shortest = torch.tensor(len(self.runner.val_dataloader))
        all_reduce(shortest, 'min')
        self._shared_val_batches = int(shortest)

    def stop_validation_if_asked(self, index: int) -> None:
        """Save and end during a validation if one of the processes was asked to stop.

        Args:
            index: Number of the batch that was scored, from 0.

        Raises:
            TrainingInterrupted: In all processes.
        """
        if index >= self._shared_val_batches or not (signal := self._agree()):
            return
        for hook in self.runner.hooks:
            if isinstance(hook, EMAHook):  # which exchanged the weights for the validation
                hook.after_val_epoch(self.runner)
        self._stop(signal, f'during the validation {self.position()}')

    def _agree(self) -> int:
        """The signal that one of the processes received; 0 if none did."""
        signal = torch.tensor(self._signals.received)
        all_reduce(signal, 'max')
        return int(signal)

    def _stop(self, signal: int, where: str) -> None:
        path = self.save()
        # The first process to end would have the others ended.
        barrier()
        raise TrainingInterrupted(
            signal,
            f'the training was stopped {where}, and is saved in {path}: to continue it, run the '
            'same command with --resume',
        )


def checkpoint_hook(runner: Runner) -> CheckpointHook | None:
    """Find the hook that saves the checkpoints of a run.

    Args:
        runner: The runner.

    Returns:
        MMEngine's hook or one derived from it; None if there is none.
    """
    return next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)


def unwrapped_model(runner: Runner) -> torch.nn.Module:
    """Return the model of a run without what distributes it."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def averaged_models(runner: Runner) -> list[torch.nn.Module]:
    """Return the moving averages that hooks keep of the model of a run."""
    return [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]
