"""Which seed an epoch starts from."""

from __future__ import annotations

import random

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from fusionreid.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seeds all global generators from (seed, epoch, process) before each epoch.

    A resumed run then draws what the uninterrupted one would have drawn, drop path included.
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed Python's, NumPy's and torch's generators.

        Args:
            runner: The runner, before an epoch.
        """
        state = np.random.SeedSequence((runner.seed, runner.epoch, runner.rank)).generate_state(1)
        seed = int(state[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
