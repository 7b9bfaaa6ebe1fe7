"""Whether a run can be resumed from a checkpoint, and what differs from the uninterrupted run."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from fusionreid.errors import ConfigError
from fusionreid.registry import HOOKS

from ..optimizers.lr_scaling import images_of_an_update


@HOOKS.register_module()
class ResumeReportHook(Hook):
    """Says when a run cannot be resumed, is not continued exactly, or has nothing left to do.

    A run is continued exactly on as many processes as wrote the checkpoint, so their number is
    saved with it.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Save the number of processes.

        Args:
            runner: The runner.
            checkpoint: What will be saved; changed in place.
        """
        checkpoint['meta']['world_size'] = runner.world_size

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare what is resumed with this run.

        Args:
            runner: The runner.
            checkpoint: What was loaded.

        Raises:
            ConfigError: If the checkpoint holds weights, but not where the training stood.
        """
        if not runner._resume:
            return
        lacks = [key for key in ('meta', 'optimizer', 'param_schedulers') if key not in checkpoint]
        if lacks:
            raise ConfigError(
                f'{runner._load_from} cannot be resumed, it lacks {", ".join(lacks)}: resume from '
                'an epoch_<n>.pth of the run, or start a new training with its weights, '
                f'--cfg-options load_from={runner._load_from}'
            )
        self._compare_schedules(runner, checkpoint['param_schedulers'])
        saved = checkpoint['meta'].get('world_size')
        if saved is None or saved == runner.world_size:
            return
        runner.logger.warning(
            f'the checkpoint was written by {saved} process(es) and is resumed by '
            f'{runner.world_size}: weights, optimizer and schedule continue, but from here on '
            'batches, random draws and batch statistics are not those of the uninterrupted run. '
            f'An update now sees {images_of_an_update(runner)} images; the learning rate stays '
            'that of the checkpoint'
        )

    @staticmethod
    def _compare_schedules(runner: Runner, saved: list[dict[str, Any]] | dict[str, Any]) -> None:
        current = runner.param_schedulers or []
        if isinstance(saved, dict) or isinstance(current, dict):
            return  # of several optimizers
        for before, now in zip(saved, current, strict=False):
            end = before.get('end')
            if end is not None and end != now.end:
                runner.logger.warning(
                    f'the schedule of the checkpoint ends at {end}, that of this config at '
                    f'{now.end}. The one of the checkpoint goes on: after its end the learning '
                    'rate stays as it is. For a new schedule start a new training with these '
                    f'weights, --cfg-options load_from={runner._load_from}'
                )
                return

    def before_train(self, runner: Runner) -> None:
        """Say so if the training is finished already.

        Args:
            runner: The runner, with its training loop built.
        """
        loop = runner.train_loop
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        done, total = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
        if done >= total:
            runner.logger.warning(
                f'nothing to do: {runner._load_from} is at the end of training, '
                f'{"epoch" if by_epoch else "iteration"} {done} of {total}'
            )
