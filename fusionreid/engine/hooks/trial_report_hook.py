"""A training that is a trial of a search: its scores are reported, and it may end early."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from fusionreid.errors import ConfigError


class TrialReportHook(Hook):
    """Reports the score of each validation to a trial of Optuna, and ends trials that lag behind.

    It is given to a Runner by ``register_hook``, since a config cannot hold a trial.

    Args:
        trial: The trial.
        metric: Name of the score; higher is better.
        scores: Number of epochs to score, as reported before the run was interrupted.
    """

    # After the checkpoint of the epoch, and the best one, are saved.
    priority = 'LOWEST'

    def __init__(self, trial: Any, metric: str, scores: Mapping[int, float]) -> None:
        self.trial = trial
        self.metric = metric
        self.scores = dict(scores)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Report the score.

        Args:
            runner: The runner.
            metrics: Scores by name.

        Raises:
            ConfigError: If the score is not among them, or is NaN.
            TrialPruned: If the pruner of the study gives up the trial.
        """
        import optuna

        metrics = metrics or {}
        if self.metric not in metrics:
            raise ConfigError(
                f'--metric {self.metric}: the validation gives {", ".join(sorted(metrics))}'
            )
        score = float(metrics[self.metric])
        if math.isnan(score):
            raise ConfigError(f'--metric {self.metric} is NaN in epoch {runner.epoch}')
        # A resumed run may repeat a validation.
        if runner.epoch not in self.scores:
            self.trial.report(score, runner.epoch)
        self.scores[runner.epoch] = score
        if self.trial.should_prune():
            raise optuna.TrialPruned
