"""Which loops of a runner become interruptible."""

from __future__ import annotations

from mmengine.runner import Runner

from .interruptible_iter_train_loop import InterruptibleIterTrainLoop
from .interruptible_train_loop import InterruptibleTrainLoop


def make_interruptible(runner: Runner) -> None:
    """Let the training of a runner finish its step on Ctrl-C or SIGTERM, save and end.

    MMEngine's two training loops are replaced by those of this package, which are the same
    otherwise; a loop that the config names by its type stays.

    Args:
        runner: The runner, before its training starts.
    """
    loop = runner._train_loop
    if isinstance(loop, dict) and 'by_epoch' in loop:
        settings = dict(loop)
        by_epoch = settings.pop('by_epoch')
        kind = InterruptibleTrainLoop if by_epoch else InterruptibleIterTrainLoop
        runner._train_loop = dict(settings, type=kind)
