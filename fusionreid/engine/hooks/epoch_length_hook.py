from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from fusionreid.registry import HOOKS


@HOOKS.register_module()
class EpochLengthHook(Hook):
    """Keeps the estimate of the time left right while epochs differ in length.

    Identity-balanced sampling gives each epoch a few batches more or fewer; mmengine multiplies
    the first epoch's number by the number of epochs.
    """

    # After the sampler has planned its epoch.
    priority = 'BELOW_NORMAL'

    def before_train_epoch(self, runner: Runner) -> None:
        """Recompute the number of iterations that are still to come."""
        loop = runner.train_loop
        epochs_left = loop.max_epochs - loop.epoch
        loop._max_iters = loop.iter + epochs_left * len(loop.dataloader)
