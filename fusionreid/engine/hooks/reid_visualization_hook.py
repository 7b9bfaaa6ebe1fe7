"""Pictures of what the model finds, for the visualizer, while it is trained."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from fusionreid.errors import ScoringError
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.feature_set import ALL
from fusionreid.evaluation.functional import RankingResult
from fusionreid.evaluation.metrics import ReIDMetric
from fusionreid.evaluation.rank_lists import RankLists, describe_rank_lists, find_rank_lists
from fusionreid.registry import HOOKS
from fusionreid.visualization import draw_rank_lists

from ..rank_watch import long_work


@HOOKS.register_module()
class ReIDVisualizationHook(Hook):
    """Gives rank lists of a few queries to the visualizer's backends after a validation.

    The queries lie evenly among those that have a match, and are the same in every validation, so
    that the pictures show how their lists change. The lists are found in the features that the
    metric has gathered for scoring; only what is drawn is kept. The first process draws. An image
    that cannot be read is marked in the picture and logged.

    A subclass that draws more overrides :meth:`draw`.

    Args:
        interval: Draws at every ``interval``-th validation, counted since the start or resumption.
        num_queries: Queries to draw, at most.
        topk: Gallery images to draw for each query.
        feature: Name of a scored feature to rank by. None takes ``all``, or the first scored one
            where ``all`` is not scored.

    Raises:
        ValueError: A number is below 1.
    """

    priority = 'LOW'

    def __init__(
        self, interval: int = 1, num_queries: int = 4, topk: int = 10, feature: str | None = None
    ) -> None:
        for name, value in (('interval', interval), ('num_queries', num_queries), ('topk', topk)):
            if value < 1:
                raise ValueError(f'{name} must be at least 1, got {value}')
        self.interval = interval
        self.num_queries = num_queries
        self.topk = topk
        self.feature = feature
        self._validations = 0
        self._found: tuple[RankLists, str] | None = None

    def before_val_epoch(self, runner: Runner) -> None:
        """Ask the metric for its features, at every ``interval``-th validation.

        Args:
            runner: The runner.
        """
        self._validations += 1
        self._found = None
        due = self._validations % self.interval == 0
        for metric in runner.val_loop.evaluator.metrics:
            if isinstance(metric, ReIDMetric):
                metric.observers = [each for each in metric.observers if each != self._find]
                if due:
                    metric.observers.append(self._find)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Draw what was found.

        Args:
            runner: The runner.
            metrics: The scores.
        """
        if self._found is None:
            return
        (lists, protocol), self._found = self._found, None
        by_epoch = runner.cfg.get('train_cfg', {}).get('by_epoch', True)
        step = runner.epoch if by_epoch else runner.iter
        with long_work('drawing'):  # the other processes train on
            pictures = self.draw(runner, lists, protocol)
            for name, picture in pictures.items():
                runner.visualizer.add_image(name, picture, step=step)

    def draw(self, runner: Runner, lists: RankLists, protocol: str) -> dict[str, np.ndarray]:
        """Draw the pictures of one validation; called in the first process.

        Args:
            runner: The runner.
            lists: The queries and what was found for them.
            protocol: Data set, features, distance, and what was left out.

        Returns:
            Pictures by name, uint8 of shape (H, W, 3), RGB.
        """
        title = f'Rank lists at epoch {runner.epoch}, iteration {runner.iter}'
        picture = draw_rank_lists(**vars(lists), title=title, protocol=protocol)
        return {'rank_lists': np.asarray(picture)}

    def _find(self, feature_set: FeatureSet, rankings: Mapping[str, RankingResult]) -> None:
        """Find the lists of the chosen queries; called by the metric in every process."""
        name = self.feature or (ALL if ALL in rankings else next(iter(rankings)))
        if name not in rankings:
            raise ScoringError(
                f'ReIDVisualizationHook: the feature {name!r} is not scored, but '
                f'{", ".join(rankings)}'
            )
        if not is_main_process():
            return
        scores = rankings[name].average_precision.cpu().numpy()
        matched = np.flatnonzero(~np.isnan(scores))
        places = np.linspace(0, len(matched) - 1, min(self.num_queries, len(matched)))
        chosen = matched[np.round(places).astype(int)]
        k = min(self.topk, len(feature_set.rows('gallery')))
        lists = find_rank_lists(feature_set, name, chosen.tolist(), scores[chosen].tolist(), k)
        self._found = lists, describe_rank_lists(feature_set, [name])
