"""Pictures of what the model finds, for the visualizer, while it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from fusionreid.errors import ConfigError, ImageDecodeError, ScoringError
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.feature_set import ALL
from fusionreid.evaluation.functional import RankingResult
from fusionreid.evaluation.metrics import ReIDMetric
from fusionreid.evaluation.rank_lists import RankLists, describe_rank_lists, find_rank_lists
from fusionreid.models import FusionReID
from fusionreid.registry import HOOKS
from fusionreid.visualization import draw_rank_lists

from ..photo_maps import KINDS, PhotoMaps, compute_photo_maps
from ..rank_watch import long_work

# The gradients of maps take memory beside what the training holds.
MOST_PHOTOS = 8


@HOOKS.register_module()
class ReIDVisualizationHook(Hook):
    """Gives rank lists and maps of a few queries to the visualizer's backends after a validation.

    The queries lie evenly among those that have a match, and are the same in every validation, so
    that the pictures show how their lists change. The lists are found in the features that the
    metric has gathered for scoring; only what is drawn is kept. The first process draws. An image
    that cannot be read is marked in the picture and logged.

    With ``maps``, the same queries are also drawn with the relevance of their pixels for each
    feature, or with what the tokens attend to. The maps are those of the model that is scored: with
    an exponential moving average, of the average. The training goes on as without them, to the
    bit; in several processes, the others wait for the first one. Maps that the model cannot give
    are named in the log once.

    A subclass that draws more overrides :meth:`draw`.

    Args:
        interval: Draws at every ``interval``-th validation, counted since the start or resumption.
        num_queries: Queries to draw, at most.
        topk: Gallery images to draw for each query.
        feature: Name of a scored feature to rank by. None takes ``all``, or the first scored one
            where ``all`` is not scored.
        maps: Maps to draw of the queries, of which there may be 8 then: ``'cam'`` for relevance by
            integrated gradients, ``'attention'``, or both.
        map_features: Names of the features whose relevance is drawn. None takes each.

    Raises:
        ValueError: A number is below 1, or too large for maps, or a kind of map is unknown.
    """

    priority = 'LOW'

    def __init__(
        self,
        interval: int = 1,
        num_queries: int = 4,
        topk: int = 10,
        feature: str | None = None,
        maps: Sequence[str] = (),
        map_features: Sequence[str] | None = None,
    ) -> None:
        for name, value in (('interval', interval), ('num_queries', num_queries), ('topk', topk)):
            if value < 1:
                raise ValueError(f'{name} must be at least 1, got {value}')
        maps = [maps] if isinstance(maps, str) else list(maps)
        if unknown := set(maps) - set(KINDS):
            raise ValueError(f'maps must be of {list(KINDS)}, got {sorted(unknown)}')
        if maps and num_queries > MOST_PHOTOS:
            raise ValueError(
                f'num_queries must be at most {MOST_PHOTOS} with maps, got {num_queries}'
            )
        self.maps = maps
        self.map_features = [map_features] if isinstance(map_features, str) else map_features
        self.interval = interval
        self.num_queries = num_queries
        self.topk = topk
        self.feature = feature
        self._validations = 0
        self._found: tuple[RankLists, str] | None = None
        self._photo_maps: PhotoMaps | None = None
        self._refused: set[str] = set()
        self._runner: Runner | None = None

    def before_run(self, runner: Runner) -> None:
        """Check, before the first step, that the model can give the maps.

        Args:
            runner: The runner.

        Raises:
            ConfigError: If it cannot, or lacks a feature.
        """
        if not self.maps:
            return
        model = _unwrapped(runner)
        if not isinstance(model, FusionReID):
            raise ConfigError(
                f'ReIDVisualizationHook: maps={self.maps} are made of a FusionReID model, not of a '
                f'{type(model).__name__}'
            )
        for name in self.map_features or ():
            if name not in model.feature_widths:
                raise ConfigError(
                    f'ReIDVisualizationHook: map_features={name!r} is none of the features '
                    f'{", ".join(model.feature_widths)}'
                )

    def before_val_epoch(self, runner: Runner) -> None:
        """Ask the metric for its features, at every ``interval``-th validation.

        Args:
            runner: The runner.
        """
        self._validations += 1
        self._found = self._photo_maps = None
        self._runner = runner
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
            if self._photo_maps is not None:
                pictures |= self._photo_maps.draw(_when(runner))
                self._photo_maps = None
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
        title = f'Rank lists at {_when(runner)}'
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
        if self.maps:
            # Here and not after the validation, when a moving average of the weights is gone.
            self._photo_maps = self._explain(feature_set.query_and_gallery()[0][chosen])

    def _explain(self, rows: Tensor) -> PhotoMaps | None:
        """Compute the maps of photos of the validation set, and say what cannot be."""
        runner = self._runner
        assert runner is not None  # set before the metric scores
        try:
            found = compute_photo_maps(
                _unwrapped(runner),
                runner.val_dataloader.dataset,
                rows.tolist(),
                self.maps,
                self.map_features,
            )
        except ImageDecodeError as error:
            runner.logger.warning(f'no maps are drawn: {error}')
            return None
        for reason in found.refused:
            if reason not in self._refused:
                runner.logger.warning(f'a map cannot be drawn: {reason}')
        self._refused.update(found.refused)
        return found


def _unwrapped(runner: Runner) -> FusionReID:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _when(runner: Runner) -> str:
    return f'epoch {runner.epoch}, iteration {runner.iter}'
