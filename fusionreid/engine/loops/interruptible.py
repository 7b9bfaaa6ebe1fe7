"""Which loops of a runner become interruptible."""

from __future__ import annotations

from mmengine.runner import Runner

from .interruptible_iter_train_loop import InterruptibleIterTrainLoop
from .interruptible_train_loop import InterruptibleTrainLoop

_LOOPS = dict(
    EpochBasedTrainLoop=InterruptibleTrainLoop, IterBasedTrainLoop=InterruptibleIterTrainLoop
)


def make_interruptible(runner: Runner) -> None:
    """Let the training of a runner finish its step on Ctrl-C or SIGTERM, save and end.

    MMEngine's two training loops are replaced by those of this package, which are the same
    otherwise; other loops stay.

    Args:
        runner: The runner, before its training starts.
    """
    loop = runner._train_loop
    if not isinstance(loop, dict) or ('type' in loop and 'by_epoch' in loop):
        return  # built already, or what MMEngine refuses
    settings = dict(loop)
    if 'by_epoch' in settings:
        name = 'EpochBasedTrainLoop' if settings.pop('by_epoch') else 'IterBasedTrainLoop'
    else:
        name = str(settings.get('type')).removeprefix('mmengine.')
    if name in _LOOPS:
        runner._train_loop = dict(settings, type=_LOOPS[name])
