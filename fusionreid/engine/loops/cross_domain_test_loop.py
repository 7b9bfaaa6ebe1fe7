"""Testing one model on several data sets: their order, their cameras and their table."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, TestLoop

from fusionreid.datasets import ReIDDataset
from fusionreid.errors import ConfigError
from fusionreid.evaluation.metrics.score_names import is_headline
from fusionreid.registry import DATASETS, LOOPS
from fusionreid.utils.tables import format_table


@LOOPS.register_module()
class CrossDomainTestLoop(TestLoop):
    """Score one model on several data sets in one run, and log one table.

    Cameras of a data set that the model was not trained on mean nothing to its side information
    embedding: only those of ``trained_on`` are passed to it, all others get the mean camera
    embedding.

    Args:
        runner: The runner.
        dataloader: Config of the test data loader; of its data set only split and pipeline are
            used.
        evaluator: Config of the evaluator, built anew for every data set. Features that it saves
            go to a folder per data set.
        datasets: Configs of data sets, without split and pipeline.
        trained_on: Config of the data set that the model was trained on; None if that is none of
            ``datasets`` or not known.
        fp16: Whether to run the model in half precision.

    Raises:
        ConfigError: If there is no data set, or two have the same name.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: Mapping[str, Any],
        evaluator: Mapping[str, Any],
        datasets: Sequence[Mapping[str, Any]],
        trained_on: Mapping[str, Any] | None = None,
        fp16: bool = False,
    ) -> None:
        if not datasets:
            raise ConfigError('a cross-domain test needs at least one data set')
        self._evaluator_config = copy.deepcopy(dict(evaluator))
        self._trained_on: ReIDDataset | None = None
        if trained_on:
            self._trained_on = DATASETS.build(dict(trained_on, pipeline=[], lazy_init=True))
        loaders = []
        for dataset in datasets:
            config = copy.deepcopy(dict(dataloader))
            kept = {key: config['dataset'][key] for key in ('split', 'pipeline')}
            # Workers of a data set that is done would stay.
            config.update(dataset=dict(dataset, **kept), persistent_workers=False)
            loaders.append(runner.build_dataloader(config))
        names = [loader.dataset.metainfo['dataset_name'] for loader in loaders]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(
                    f'two data sets are called {name!r}: give them different names, with '
                    'dataset_name or --datasets NAME:TYPE=ROOT'
                )
        self._loaders = dict(zip(names, loaders, strict=True))
        super().__init__(runner, loaders[0], self._evaluator_config, fp16)

    def _build_evaluator(self, name: str, loader: Any) -> Any:
        config = copy.deepcopy(self._evaluator_config)
        if config.get('out_dir'):
            config['out_dir'] = str(Path(config['out_dir']) / name)
        evaluator = self.runner.build_evaluator(config)
        evaluator.dataset_meta = loader.dataset.metainfo
        return evaluator

    def run(self) -> dict[str, float]:
        """Score every data set.

        Returns:
            Scores by name, those of a data set after its name: ``'Market-1501/reid/mAP'``.
        """
        model = self.runner.model
        model = model.module if is_model_wrapper(model) else model
        uses_cameras = model.use_cameras
        metrics: dict[str, float] = {}
        rows, headlines = [], []
        try:
            for name, loader in self._loaders.items():
                self.dataloader = loader
                self.evaluator = self._build_evaluator(name, loader)
                model.use_cameras = uses_cameras and self._was_trained_on(loader.dataset)
                self._forget_scores()
                scores = super().run()
                metrics.update({f'{name}/{key}': value for key, value in scores.items()})
                rows.append([name, *self._describe(loader, model)])
                headlines.append(_headline(scores))
        finally:
            model.use_cameras = uses_cameras
        # A data set without ties, say, lacks the score of their share.
        names = list(dict.fromkeys(name for headline in headlines for name in headline))
        for row, headline in zip(rows, headlines, strict=True):
            row += [_cell(headline.get(name)) for name in names]
        rows.insert(0, ['data set', 'queries', 'gallery', 'cameras', *names])
        print_log(f'Scores in percent\n{format_table(rows, rule=True)}', logger='current')
        return metrics

    def _forget_scores(self) -> None:
        """Drop the scores of the data set before, of which this one may lack some, from the log."""
        scalars = self.runner.message_hub.log_scalars
        for tag in [tag for tag in scalars if tag.startswith('test/')]:
            del scalars[tag]

    def _was_trained_on(self, dataset: ReIDDataset) -> bool:
        known = self._trained_on
        if known is None or type(dataset) is not type(known):
            return False
        if known.METAINFO['dataset_name']:  # a published one, wherever it lies
            return True
        places = [(Path(each.data_root).resolve(), each.ann_file) for each in (known, dataset)]
        return places[0] == places[1]

    @staticmethod
    def _describe(loader: Any, model: Any) -> list[str]:
        counts = loader.dataset.metainfo['counts']
        cameras = 'not used'
        if model.num_cameras:
            cameras = 'known' if model.use_cameras else 'mean'
        return [str(counts['query']['images']), str(counts['gallery']['images']), cameras]


def _cell(score: float | None) -> str:
    """A percentage or a distance with digits, a count without."""
    if score is None:
        return ''
    return str(score) if isinstance(score, int) else f'{score:.2f}'


def _headline(scores: Mapping[str, float]) -> dict[str, float]:
    """The scores of the feature that stands for the model, without the metric's prefix."""
    return {name.partition('/')[2]: value for name, value in scores.items() if is_headline(name)}
