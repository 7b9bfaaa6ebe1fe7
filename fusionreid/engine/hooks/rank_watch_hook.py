"""Tells the watch of several processes what this one is at."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from fusionreid.registry import HOOKS

from ..rank_watch import current_watch, long_work

# Steps of training, and batches of scoring, that may be compiled.
_COMPILED_STEPS = 2


@HOOKS.register_module()
class RankWatchHook(Hook):
    """Notes what a process has reached, and from when to when it is at long work.

    A process that hangs still gives signs of life, and all others wait for it, see
    :mod:`fusionreid.engine.rank_watch`. Long work is scoring, saving checkpoints, and the first
    steps of a model that is compiled. A hook that lets the others wait longer than the timeout
    declares that itself, with :func:`~fusionreid.engine.rank_watch.long_work`.
    """

    # The last after a step, so that what other hooks do, such as saving, is no waiting.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._steps = dict(train=0, val=0, test=0)
        self._compiling = ExitStack()

    def before_run(self, runner: Runner) -> None:
        """Declare the saving of checkpoints.

        Args:
            runner: The runner.
        """
        _declare(runner, 'save_checkpoint', 'saving')

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        if mode != 'train':
            _declare(getattr(runner, f'{mode}_loop').evaluator, 'evaluate', 'scoring')
        _note(True)

    def _before_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, mode: str = 'train'
    ) -> None:
        self._steps[mode] += 1
        if self._steps[mode] <= _COMPILED_STEPS and _is_compiled(runner):
            self._compiling.enter_context(long_work('compiling'))
        _note(False)

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
        mode: str = 'train',
    ) -> None:
        self._compiling.close()
        _note(batch_idx + 1 < len(getattr(runner, f'{mode}_dataloader')))

    def _after_epoch(self, runner: Runner, mode: str = 'train') -> None:
        _note(False)


def _note(waits: bool) -> None:
    watch = current_watch()
    if watch is not None:
        watch.waits_for_data(waits)


def _declare(owner: Any, method: str, work: str) -> None:
    """Make a method of an object long work, once."""
    if method not in vars(owner):
        setattr(owner, method, long_work(work)(getattr(owner, method)))


def _is_compiled(runner: Runner) -> bool:
    cfg = runner.cfg
    return bool(cfg.get('compile') or (cfg.get('model') or {}).get('compile'))
