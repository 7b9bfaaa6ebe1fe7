"""What follows from epochs of different length: the time left and the last update."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from fusionreid.registry import HOOKS


@HOOKS.register_module()
class EpochLengthHook(Hook):
    """Keeps the time left and the accumulation of gradients right while epochs differ in length.

    Identity-balanced sampling gives each epoch a few batches more or fewer; mmengine multiplies
    the first epoch's number by the number of epochs. With ``accumulative_counts=k`` in the
    optimizer wrapper, the last update of an epoch takes the mean over the fewer than k batches that
    are left, so that nothing is carried into the next epoch or lost between saving and resuming.
    """

    # After the sampler has planned its epoch.
    priority = 'BELOW_NORMAL'

    def before_train_epoch(self, runner: Runner) -> None:
        """Recompute the iterations that are still to come and start counting batches anew.

        Args:
            runner: The runner, before an epoch.
        """
        loop = runner.train_loop
        if not isinstance(loop, EpochBasedTrainLoop):
            return  # by iteration there are no epochs whose lengths could differ
        epochs_left = loop.max_epochs - loop.epoch
        done = getattr(loop, 'batches_done', 0)  # of an epoch that is continued
        loop._max_iters = loop.iter - done + epochs_left * len(loop.dataloader)
        wrapper = runner.optim_wrapper
        if getattr(wrapper, '_accumulative_counts', 1) > 1:
            wrapper.initialize_count_status(runner.model, done, len(loop.dataloader))
