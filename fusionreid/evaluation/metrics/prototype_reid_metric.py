"""mAP, CMC and mINP of a model that compares each query with a gallery of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from fusionreid.errors import ScoringError
from fusionreid.registry import DATASETS, METRICS

from ..functional import evaluate_distances
from ..scoring_errors import scoring_errors
from .foreign_samples import check_keys, rename_keys
from .score_table import describe_data_set


@METRICS.register_module()
class PrototypeReIDMetric(BaseMetric):
    """Scores of mmpretrain's ``ImageToImageRetriever``, in percent: ``mAP``, ``rank{k}``, ``mINP``.

    Such a model holds the gallery as its prototypes, and gives each query its similarities to them,
    in the order of the gallery's data set. Ranking is that of :class:`ReIDMetric`.

    Args:
        gallery: Config of the data set of the prototypes; its items have ``person_id`` and
            ``camera_id``.
        topk: Ranks of the CMC to report.
        remove_same_camera: Remove gallery images of the query's identity and camera.
        keys: Where queries and gallery keep ``person_id`` and ``camera_id``, as for
            :class:`ReIDMetric`.
        collect_device: ``'cpu'`` or ``'gpu'``, as in MMEngine.
        prefix: First part of the scores' names.

    Raises:
        ValueError: ``topk`` or ``keys`` make no sense.
    """

    default_prefix = 'reid'

    def __init__(
        self,
        gallery: dict[str, Any],
        topk: Sequence[int] = (1, 5, 10),
        remove_same_camera: bool = True,
        keys: Mapping[str, str | None] | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.gallery = gallery
        self.topk = tuple(topk)
        if not self.topk or min(self.topk) < 1:
            raise ValueError(f'topk must be ranks from 1 on, got {topk!r}')
        self.remove_same_camera = remove_same_camera
        self.keys = check_keys(keys or {})

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the similarities of one batch of queries.

        Args:
            data_batch: Unused.
            data_samples: The queries' labels, with ``pred_score`` of shape (G,).

        Raises:
            ScoringError: A sample lacks a field.
        """
        for sample in data_samples:
            person, camera = self._labels(sample)
            scores = sample.get('pred_score')
            if scores is None:
                raise ScoringError(
                    f'{sample.get("img_path", "a sample")}: the model must give pred_score, the '
                    'similarities to its prototypes, as ImageToImageRetriever does'
                )
            self.results.append((person, camera, scores.detach().float().cpu()))

    def _labels(self, sample: Mapping[str, Any]) -> tuple[int, int]:
        renamed = rename_keys(sample, self.keys)
        if renamed.get('person_id') is None or renamed.get('camera_id') is None:
            raise ScoringError(
                f'{sample.get("img_path", "a sample")}: needs person_id and camera_id, it has '
                f'{", ".join(sample)}: set keys'
            )
        return int(renamed['person_id']), int(renamed['camera_id'])

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Score all queries.

        Args:
            results: Identity, camera and similarities of each query.

        Returns:
            Scores in percent by name, without prefix.

        Raises:
            ScoringError: The prototypes are not those of ``gallery``, or no query has a match.
        """
        data = DATASETS.build(self.gallery)
        labels = torch.tensor(
            [self._labels(data.get_data_info(row)) for row in range(len(data))]
        ).reshape(-1, 2)
        queries = torch.tensor([result[:2] for result in results])
        similarities = torch.stack([scores for _, _, scores in results])
        if similarities.shape[1] != len(labels):
            raise ScoringError(
                f'the model has {similarities.shape[1]} prototypes, but the gallery of the metric '
                f'has {len(labels)} images: both must be of the same data set'
            )
        with scoring_errors():
            ranking = evaluate_distances(
                -similarities,
                queries[:, 0],
                labels[:, 0],
                queries[:, 1],
                labels[:, 1],
                max_rank=max(50, *self.topk),
                remove_same_camera=self.remove_same_camera,
            )
        cameras = 'removed' if self.remove_same_camera else 'kept'
        print_log(
            f'Scores in percent. {describe_data_set(self.dataset_meta or {})}, {len(queries)} '
            f'queries, {len(labels)} prototypes, same-camera matches {cameras}, similarities of '
            'the model',
            logger='current',
        )
        scores = dict(mAP=100 * ranking.mAP)
        scores.update({f'rank{rank}': 100 * float(ranking.cmc[rank - 1]) for rank in self.topk})
        return {**scores, 'mINP': 100 * ranking.mINP}
