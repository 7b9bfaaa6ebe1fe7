"""How long a training takes, said after its first steps."""

from __future__ import annotations

import time
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from fusionreid.registry import HOOKS
from fusionreid.utils.durations import describe_duration


@HOOKS.register_module()
class TimeEstimateHook(Hook):
    """Measures a few steps and says how long all steps that are left take on this machine.

    The first step, which allocates memory and starts the workers, is not measured. A training of
    no more steps than that says nothing.

    Args:
        steps: Steps to measure.
    """

    # After the other hooks of a step, which take time too.
    priority = 'LOWEST'

    def __init__(self, steps: int = 3) -> None:
        self.steps = steps
        self._done = 0
        self._start = 0.0

    def before_train(self, runner: Runner) -> None:
        """Begin to count steps.

        Args:
            runner: The runner.
        """
        self._done = 0

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        """Measure, and after the last measured step say it.

        Args:
            runner: The runner, after a step.
        """
        self._done += 1
        if self._done not in (1, 1 + self.steps):
            return
        if next(runner.model.parameters()).is_cuda:
            torch.cuda.synchronize()
        if self._done == 1:
            self._start = time.perf_counter()
            return
        step = (time.perf_counter() - self._start) / self.steps
        loop = runner.train_loop
        left = loop.max_iters - loop.iter - 1
        epochs = ''
        if isinstance(loop, EpochBasedTrainLoop):
            count = loop.max_epochs - loop.epoch
            epochs = f' of {count} epochs' if count > 1 else ' of one epoch'
        runner.logger.info(
            f'the training takes about {describe_duration(step * left)}: {left} steps{epochs} are '
            f'left, each {step:.3g} s (measured over {self.steps} steps on this machine); scoring '
            f'and saving come on top'
        )
