"""Tells the watch of several processes when this one waits for data."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from fusionreid.registry import HOOKS

from ..rank_watch import current_watch


@HOOKS.register_module()
class RankWatchHook(Hook):
    """Notes from when to when a process waits for its data loader.

    A process that hangs there still gives signs of life, and all others wait for it, see
    :mod:`fusionreid.engine.rank_watch`.
    """

    # The last after a step, so that what other hooks do, such as saving, is no waiting.
    priority = 'LOWEST'

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        _note(True)

    def _before_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, mode: str = 'train'
    ) -> None:
        _note(False)

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
        mode: str = 'train',
    ) -> None:
        _note(batch_idx + 1 < len(getattr(runner, f'{mode}_dataloader')))

    def _after_epoch(self, runner: Runner, mode: str = 'train') -> None:
        _note(False)


def _note(waits: bool) -> None:
    watch = current_watch()
    if watch is not None:
        watch.waits_for_data(waits)
