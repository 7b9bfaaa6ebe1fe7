from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from fusionreid.engine.optimizers.lr_scaling import images_of_an_update
from fusionreid.registry import HOOKS


@HOOKS.register_module()
class ResumeReportHook(Hook):
    """Says when a resumed run is not the exact continuation, or has nothing left to do.

    A run is continued exactly on as many processes as wrote the checkpoint, so their number is
    saved with it.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save the number of processes."""
        checkpoint['meta']['world_size'] = runner.world_size

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the number of processes, if the run is resumed."""
        saved = checkpoint.get('meta', {}).get('world_size')
        if not runner._resume or saved is None or saved == runner.world_size:
            return
        runner.logger.warning(
            f'the checkpoint was written by {saved} process(es) and is resumed by '
            f'{runner.world_size}: weights, optimizer and schedule continue, but from here on '
            'batches, random draws and batch statistics are not those of the uninterrupted run. '
            f'An update now sees {images_of_an_update(runner)} images; the learning rate stays '
            'that of the checkpoint'
        )

    def before_train(self, runner: Runner) -> None:
        """Say so if the training is finished already."""
        loop = runner.train_loop
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        done, total = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
        if done >= total:
            runner.logger.warning(
                f'nothing to do: {runner._load_from} is at the end of training, '
                f'{"epoch" if by_epoch else "iteration"} {done} of {total}'
            )
