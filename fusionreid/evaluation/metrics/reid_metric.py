"""mAP, CMC and mINP under a data set's protocol, from every process's share of the features."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.dist import is_main_process as is_main
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from fusionreid.errors import ScoringError
from fusionreid.registry import METRICS
from fusionreid.utils.progress import Progress

from ..feature_set import ALL, ROLES, FeatureSet
from ..functional import (
    MeanScores,
    OpenSetResult,
    QueryScores,
    RankingResult,
    RepeatedResult,
    ScoringInputError,
    evaluate_distances,
    evaluate_open_set,
    rank_queries,
    reranked_blocks,
)
from ..functional.memory import DEFAULT_MEMORY_LIMIT
from ..functional.reranking import DEFAULT_RERANKING_MEMORY_LIMIT
from ..functional.validation import check_ties
from ..scoring_errors import scoring_errors
from .feature_collector import FeatureCollector, raise_together
from .foreign_samples import check_keys, list_samples, rename_keys
from .open_set_scores import OPEN_SET, OpenSetScores, check_fpirs, open_set_names, open_set_text
from .rerank_protocol import RERANKED, RerankProtocol
from .score_table import format_repeated, format_scores, warn_of_ties


@METRICS.register_module()
class ReIDMetric(BaseMetric):
    """Scores of person re-identification in percent: ``mAP``, ``rank{k}`` and ``mINP``.

    Every feature is L2-normalized (``all``, the features side by side, once over the whole
    vector) and ranked by Euclidean distance; gallery images of the query's identity and camera
    are removed first. The scores of ``all``, or of the first scored feature where ``all`` is not
    scored, name no feature, so that ``save_best='reid/mAP', rule='greater'`` works with every
    model; those of a named feature are called ``<feature>.mAP`` and so on. With ``rerank``
    there is a second set of scores, called ``rerank.mAP``, ``<feature>.rerank.mAP`` and so on.
    Where a data set has several test splits (``test_splits`` in its metainfo), each is ranked;
    every score is the mean over them, and ``mAP_std`` and so on are the sample standard deviations.
    With ``open_set`` there are scores of searches for people who may not be in the gallery,
    called ``open_set.tpir_at_0.01`` and so on. Where matches are at the very distance of images
    of other people, their share is a further score, ``tied``.

    In several processes each sends its features to all, and ranks its share of the queries; the
    features to re-rank or to search are shared out among them. The scores do not depend on the
    number of processes.

    Args:
        features: Names of the features to score, ``'all'`` among them if wanted. None scores
            ``all`` and each one (a model with a single feature: that one).
        topk: Ranks of the CMC to report.
        remove_same_camera: Remove gallery images of the query's identity and camera; False suits
            data sets without cameras.
        remove_same_clothes: Also remove gallery images of the query's identity and clothes, as the
            protocols of clothes change do; the data set has to tell the clothes.
        rerank: Also score after k-reciprocal re-ranking with these ``k1``, ``k2`` and
            ``lambda_value`` (see :class:`RerankProtocol`; an empty dict takes the published
            ones). None does not re-rank.
        open_set: Also score searches by distance at these false positive identification rates
            (see :func:`evaluate_open_set`). None does not.
        ties: How gallery images at the same distance are scored: in gallery ``'order'``, or
            ``'expected'``, the mean over all their orders.
        memory_limit: Bytes that ranking may use on top of the features.
        rerank_memory_limit: Bytes that re-ranking may use on top of the features.
        out_dir: Save the scored features there (see :class:`FeatureSet`) before they are scored;
            with ``'all'`` those are all.
        collect_device: ``'cpu'``, or ``'gpu'`` to leave the features on the model's device and
            rank there.
        prefix: First part of the scores' names.
        keys: Where data samples of other projects keep what ours call ``img_path``, ``person_id``,
            ``camera_id``, ``role``, ``sample_idx`` and ``features``; e.g.
            ``dict(person_id='gt_label', camera_id=None)``, where None stands for unknown cameras.
            Features may be a single tensor there.

    Raises:
        ValueError: ``topk``, ``features``, ``rerank``, ``open_set``, ``ties``, ``collect_device``
            or ``keys`` make no sense.
    """

    default_prefix = 'reid'

    def __init__(
        self,
        features: str | Sequence[str] | None = None,
        topk: Sequence[int] = (1, 5, 10),
        remove_same_camera: bool = True,
        remove_same_clothes: bool = False,
        rerank: Mapping[str, Any] | None = None,
        open_set: Sequence[float] | None = None,
        ties: str = 'order',
        memory_limit: int = DEFAULT_MEMORY_LIMIT,
        rerank_memory_limit: int = 2 * DEFAULT_RERANKING_MEMORY_LIMIT,
        out_dir: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        keys: Mapping[str, str | None] | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if collect_device not in ('cpu', 'gpu'):
            raise ValueError(f"collect_device must be 'cpu' or 'gpu', got {collect_device!r}")
        self.features = [features] if isinstance(features, str) else features
        if self.features is not None and (
            not self.features or len(set(self.features)) != len(self.features)
        ):
            raise ValueError(f'features must be distinct names, got {features!r}')
        self.topk = tuple(topk)
        if not self.topk or min(self.topk) < 1:
            raise ValueError(f'topk must be ranks from 1 on, got {topk!r}')
        removals = dict(
            remove_same_camera=remove_same_camera, remove_same_clothes=remove_same_clothes
        )
        for name, value in removals.items():
            if not isinstance(value, bool):
                raise ValueError(f'{name} must be True or False, got {value!r}')
        self.remove_same_camera = remove_same_camera
        self.remove_same_clothes = remove_same_clothes
        self.rerank = None if rerank is None else RerankProtocol.from_config(rerank)
        if open_set is not None:
            check_fpirs(open_set)
        self.open_set = open_set
        check_ties(ties)
        self.ties = ties
        self.memory_limit = memory_limit
        self.rerank_memory_limit = rerank_memory_limit
        self.out_dir = out_dir
        #: Called in every process with the features and the result of each scored one, by name,
        #: while both are still there; of several test splits, with those of the first.
        self.observers: list[Callable[[FeatureSet, Mapping[str, RankingResult]], None]] = []
        self.keys = check_keys(keys or {})
        self._collector = FeatureCollector(on_device=collect_device == 'gpu')
        self.reset()

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the features of one batch; see :meth:`FeatureCollector.add`.

        Args:
            data_batch: Unused.
            data_samples: The images' labels and features.

        Raises:
            ScoringError: A sample lacks a field, has other features than the first one, or a NaN or
                infinite value; or the data set is too small for ``rerank``.
        """
        with scoring_errors():
            self._check_rerank()
        self._collector.add([rename_keys(sample, self.keys) for sample in data_samples])

    def update(
        self,
        features: Tensor | Mapping[str, Tensor],
        person_ids: Tensor | Sequence[int],
        camera_ids: Tensor | Sequence[int] | None = None,
        role: str | Sequence[str] = 'gallery',
        img_paths: Sequence[str] | None = None,
    ) -> None:
        """Keep the features of one batch, where no Runner calls the metric.

        Args:
            features: Features of shape (B, D), or several by name.
            person_ids: (B,) identities.
            camera_ids: (B,) 0-based cameras, -1 for unknown; None for all unknown.
            role: ``'query'`` or ``'gallery'``, for all or for each image.
            img_paths: Names of the images in messages; None numbers them.

        Raises:
            ScoringError: Lengths differ, or a feature is zero, NaN or infinite.
        """
        samples = list_samples(features, person_ids, camera_ids, role, img_paths, self._num_updated)
        with scoring_errors():
            self._collector.add(samples)
        self._num_updated += len(samples)

    def compute(self) -> dict[str, float]:
        """Score all that :meth:`update` was given, in all processes together.

        What was given is kept; :meth:`reset` forgets it.

        Returns:
            Scores in percent by name, the same in every process.

        Raises:
            ScoringError: As :meth:`evaluate` does.
        """
        scores = self.compute_metrics(self._collector.gather_kept(self.dataset_meta))
        return {f'{self.prefix}/{name}': score for name, score in scores.items()}

    def reset(self) -> None:
        """Forget everything that was given."""
        self._collector.clear()
        self._num_updated = 0

    def evaluate(self, size: int) -> dict[str, float]:
        """Score the whole test set.

        Args:
            size: Number of images in the data set; each of the samples 0..size-1 must have been
                processed, by whichever process, once or more.

        Returns:
            Scores in percent by name, the same in every process.

        Raises:
            ScoringError: Samples are missing, there is no query, no gallery or no query with a
                match, processes disagree about the features, or they cannot be saved (which is
                said after the scores are logged).
        """
        feature_set = self._collector.gather(size, self.dataset_meta)
        problem = self._save(feature_set)
        scores = self.compute_metrics(feature_set)
        raise_together(problem)
        return {f'{self.prefix}/{name}': score for name, score in scores.items()}

    def score_names(self, model_features: Sequence[str]) -> list[str]:
        """List the scores that a model's features will get.

        Args:
            model_features: Names of the features that the model gives.

        Returns:
            Names of all scores, prefix included.
        """
        ranked = ['mAP', *(f'rank{rank}' for rank in self.topk), 'mINP']
        kinds = {'': ranked}
        if self.open_set is not None:
            kinds[f'{OPEN_SET}.'] = open_set_names(self.open_set)
        if self.rerank is not None:
            kinds[f'{RERANKED}.'] = ranked
        labels = [label for label, _ in _labelled(self._choose(model_features))]
        return [
            f'{self.prefix}/{label}{kind}{number}'
            for kind, numbers in kinds.items()
            for label in labels
            for number in numbers
        ]

    def _check_rerank(self) -> None:
        """Refuse, before the first image, more neighbors than the data set has images."""
        counts = (self.dataset_meta or {}).get('counts') or {}
        if self.rerank is not None and all(counts.get(role) for role in ROLES):
            self.rerank.check_size(sum(counts[role]['images'] for role in ROLES))

    def _save(self, feature_set: FeatureSet) -> str | None:
        """Save the features where wanted; returns what went wrong."""
        if self.out_dir is None or not is_main():
            return None
        wanted = self.features or [ALL]
        # An unknown name is told when it comes to scoring; until then nothing is lost.
        if set(wanted) <= {ALL, *feature_set.names}:
            feature_set = feature_set.only(wanted)
        try:
            feature_set.save(self.out_dir)
        except OSError as error:
            return f'the features cannot be saved in {self.out_dir}: {error}'
        print_log(f'features saved in {self.out_dir}', logger='current')
        return None

    def compute_metrics(self, results: FeatureSet) -> dict[str, float]:
        """Score a set of features and log the tables; also for features that were saved before.

        Args:
            results: The features of the whole test set, the same in every process.

        Returns:
            Scores in percent by name, without prefix.

        Raises:
            ScoringError: No query, no gallery image, no query with a match, or an unknown feature
                name.
        """
        with scoring_errors():
            return self._compute(results)

    def _compute(self, results: FeatureSet) -> dict[str, float]:
        parts = self._divide(results)
        query_and_gallery = [part.query_and_gallery() for part in parts]
        if self.rerank is not None:
            for query, gallery in query_and_gallery:
                self.rerank.check_size(len(query) + len(gallery))
        if self.remove_same_clothes and results.clothes_ids is None:
            raise ScoringError(
                'remove_same_clothes=True needs to know the clothes, but the data set tells none: '
                'leave it out, or score a data set of clothes change'
            )
        names = self._choose(results.names)
        rankings = []
        for part, rows in zip(parts, query_and_gallery, strict=True):
            rankings.append({name: self._rank(part, name, *rows) for name in names})
            if part is parts[0]:
                for observe in self.observers:
                    observe(part, rankings[0])
        scores = self._report(parts, rankings, '')
        if self.open_set is not None:
            if len(parts) > 1 or self.remove_same_clothes:
                raise ScoringError(
                    'open_set is scored on one test split, whatever people wear: choose a split of '
                    'the data set (split_index), and leave out remove_same_clothes'
                )
            query, gallery = query_and_gallery[0]
            found = self._search_all(results, rankings[0], query, gallery, self.open_set)
            print_log(open_set_text(found, 'feature'), logger='current')
            for label, name in _labelled(names):
                own = found[name].by_name()
                scores.update({f'{label}{OPEN_SET}.{key}': own[key] for key in own})
        if self.rerank is not None:
            # After the first table is logged: what comes next takes longer and may fail.
            reranked = [
                self._rerank_all(part, names, *rows, self.rerank)
                for part, rows in zip(parts, query_and_gallery, strict=True)
            ]
            scores.update(self._report(parts, reranked, f'{RERANKED}.', f'After {self.rerank}. '))
        return scores

    def _divide(self, results: FeatureSet) -> list[FeatureSet]:
        """The test splits of the data set, each as a set; all results where there is one split."""
        known = (self.dataset_meta or {}).get('test_splits')
        if known is None:
            return [results]
        if len(results) != known['size']:
            raise ScoringError(
                f'{known["description"]} are of {known["size"]} images, but {len(results)} were '
                'encoded: leave out `indices`, or choose one split of the data set'
            )
        return [results.divide(*map(torch.as_tensor, rows)) for rows in known['splits']]

    def _report(
        self,
        parts: Sequence[FeatureSet],
        rankings: Sequence[Mapping[str, RankingResult]],
        kind: str,
        start: str = '',
    ) -> dict[str, float]:
        """Log the table of one split, or of all together, and name the scores."""
        if len(parts) == 1:
            self._log(parts[0], rankings[0], start)
            return self._scores(rankings[0], kind)
        repeated = {
            name: RepeatedResult.from_results([ranking[name] for ranking in rankings])
            for name in rankings[0]
        }
        table = format_repeated(
            parts,
            repeated,
            (self.dataset_meta or {})['test_splits']['description'],
            self.topk,
            self.remove_same_camera,
            self.ties,
            self.remove_same_clothes,
        )
        print_log(start + table, logger='current')
        for line in warn_of_ties(parts[0], rankings[0], self.ties):
            print_log(line, logger='current', level=logging.WARNING)
        scores = self._scores({name: each.mean for name, each in repeated.items()}, kind)
        spread = self._scores({name: each.deviation for name, each in repeated.items()}, kind)
        return scores | {f'{name}_std': value for name, value in spread.items()}

    def _choose(self, given: Sequence[str]) -> list[str]:
        """The features to score, of those that the model gives."""
        if self.features is None:
            return [*given, *([ALL] if len(given) > 1 else [])]
        unknown = set(self.features) - {ALL, *given}
        if unknown:
            raise ScoringError(
                f'features {sorted(unknown)} are to be scored, but the model gives '
                f'{", ".join(given)}'
            )
        return list(self.features)

    def _log(
        self, results: FeatureSet, rankings: Mapping[str, RankingResult], start: str = ''
    ) -> None:
        table = format_scores(
            results,
            rankings,
            self.topk,
            self.remove_same_camera,
            self.ties,
            self.remove_same_clothes,
        )
        print_log(start + table, logger='current')
        for line in warn_of_ties(results, rankings, self.ties):
            print_log(line, logger='current', level=logging.WARNING)

    def _scores(
        self, rankings: Mapping[str, RankingResult | MeanScores], kind: str
    ) -> dict[str, float]:
        """Scores in percent: the headline, which names no feature, then each feature's."""
        scores: dict[str, float] = {}
        for label, name in _labelled(list(rankings)):
            start, ranking = label + kind, rankings[name]
            scores[f'{start}mAP'] = 100 * ranking.mAP
            for rank in self.topk:
                scores[f'{start}rank{rank}'] = 100 * float(ranking.cmc[rank - 1])
            scores[f'{start}mINP'] = 100 * ranking.mINP
            if ranking.tied:
                scores[f'{start}tied'] = 100 * ranking.tied
        return scores

    @property
    def _max_rank(self) -> int:
        return max(50, *self.topk)

    def _labels(
        self, feature_set: FeatureSet, query: Tensor, gallery: Tensor
    ) -> tuple[Tensor, ...]:
        people, cameras = feature_set.person_ids, feature_set.camera_ids
        return people[query], people[gallery], cameras[query], cameras[gallery]

    def _clothes(self, feature_set: FeatureSet, query: Tensor, gallery: Tensor) -> dict[str, Any]:
        clothes = feature_set.clothes_ids
        if clothes is None or not self.remove_same_clothes:
            return {}
        return dict(query_clothes=clothes[query], gallery_clothes=clothes[gallery])

    def _rank(
        self, feature_set: FeatureSet, name: str, query: Tensor, gallery: Tensor
    ) -> RankingResult:
        """Rank this process's share of the queries, and put all shares together."""
        device = feature_set.features.device
        share = slice(get_rank(), None, get_world_size())

        def measure() -> QueryScores:
            return rank_queries(
                feature_set.unit_rows(name, query[share]),
                feature_set.unit_rows(name, gallery),
                *self._labels(feature_set, query[share], gallery),
                **self._clothes(feature_set, query[share], gallery),
                max_rank=self._max_rank,
                remove_same_camera=self.remove_same_camera,
                ties=self.ties,
                memory_limit=self.memory_limit,
            )

        return self._together([(share, measure)], len(query), device)[0]

    def _rerank_all(
        self,
        feature_set: FeatureSet,
        names: Sequence[str],
        query: Tensor,
        gallery: Tensor,
        protocol: RerankProtocol,
    ) -> dict[str, RankingResult]:
        """Re-rank the features, each of them by one of the processes."""
        device = feature_set.features.device
        everything, nothing = slice(None), slice(0)

        def measure(name: str) -> QueryScores:
            if sys.stderr.isatty():
                print(f'{name}:', file=sys.stderr)
            distances = reranked_blocks(
                feature_set.unit_rows(name, query),
                feature_set.unit_rows(name, gallery),
                **protocol.options,
                memory_limit=self.rerank_memory_limit,
                progress=Progress if is_main() and sys.stderr.isatty() else None,
            )
            return evaluate_distances(
                distances,
                *self._labels(feature_set, query, gallery),
                **self._clothes(feature_set, query, gallery),
                max_rank=self._max_rank,
                remove_same_camera=self.remove_same_camera,
                ties=self.ties,
                memory_limit=self.memory_limit,
            ).queries

        tasks = []
        for position, name in enumerate(names):
            mine = position % get_world_size() == get_rank()
            tasks.append((everything if mine else nothing, lambda name=name: measure(name)))
        results = self._together(tasks, len(query), device)
        return dict(zip(names, results, strict=True))

    def _search_all(
        self,
        feature_set: FeatureSet,
        rankings: Mapping[str, RankingResult],
        query: Tensor,
        gallery: Tensor,
        fpirs: Sequence[float],
    ) -> dict[str, OpenSetScores]:
        """Score searches by the features, each of them in one of the processes."""
        problem = None
        results: dict[str, OpenSetResult] = {}
        for position, name in enumerate(rankings):
            results[name] = OpenSetResult.unmeasured(len(query), feature_set.features.device)
            if problem is None and position % get_world_size() == get_rank():
                try:
                    results[name] = evaluate_open_set(
                        feature_set.unit_rows(name, query),
                        feature_set.unit_rows(name, gallery),
                        *self._labels(feature_set, query, gallery),
                        remove_same_camera=self.remove_same_camera,
                        memory_limit=self.memory_limit,
                    )
                except (ScoringError, ScoringInputError) as error:
                    problem = str(error)
        raise_together(problem)
        for result in results.values():
            for total in (result.match_distances, result.match_ranks, result.other_distances):
                all_reduce(total)
        return {
            name: OpenSetScores.at(rankings[name], result, fpirs)
            for name, result in results.items()
        }

    def _together(
        self,
        tasks: Sequence[tuple[slice, Callable[[], QueryScores]]],
        num_query: int,
        device: torch.device,
    ) -> list[RankingResult]:
        """Measure queries, each of them in one process, and share the results.

        Args:
            tasks: For each result the queries that this process measures, and how.
            num_query: Queries of all processes together.
            device: Where the results are added up.

        Returns:
            A result for each task, the same in every process.

        Raises:
            ScoringError: A task was refused in some process, or no query has a match.
        """
        problem = None
        results: list[QueryScores] = []
        for share, measure in tasks:
            # Sums over the processes: 0 in all but one.
            empty = QueryScores.unmeasured(num_query, device)
            measured = QueryScores(*map(torch.zeros_like, empty))
            if problem is None and range(num_query)[share]:
                try:
                    for total, part in zip(measured, measure(), strict=True):
                        total[share] = part.to(device)
                except (ScoringError, ScoringInputError) as error:
                    problem = str(error)
            results.append(measured)
        raise_together(problem)
        for measured in results:
            for total in measured:
                all_reduce(total)
        return [RankingResult.from_queries(each, self._max_rank) for each in results]


def _labelled(names: Sequence[str]) -> list[tuple[str, str]]:
    """What the scores of features begin with, and the feature: the headline, then each one."""
    headline = ALL if ALL in names else names[0]
    each = [name for name in names if len(names) > 1 and name != ALL]
    return [('', headline), *((f'{name}.', name) for name in each)]
