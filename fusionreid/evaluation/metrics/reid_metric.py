"""mAP, CMC and mINP under the Market-1501 protocol, from every process's share of the features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_gather, all_gather_object, all_reduce, get_rank, get_world_size
from mmengine.dist import is_main_process as is_main
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor
from torch.nn.functional import normalize

from fusionreid.evaluation.feature_set import ALL, ROLES, FeatureSet
from fusionreid.evaluation.functional import RankingResult, rank_queries
from fusionreid.evaluation.metrics.score_table import format_scores
from fusionreid.registry import METRICS

REQUIRED = ('img_path', 'person_id', 'camera_id', 'role', 'sample_idx')
PROTOCOL_KEYS = ('dataset_name', 'release', 'split', 'train_split')
# Bytes of features that each process sends at once.
GATHER_BYTES = 64 << 20


@METRICS.register_module()
class ReIDMetric(BaseMetric):
    """Scores of person re-identification in percent: ``mAP``, ``rank{k}`` and ``mINP``.

    Every feature is L2-normalised (``all``, the features side by side, once over the whole
    vector) and ranked by Euclidean distance; gallery images of the query's identity and camera
    are removed first. The scores of ``all``, or of the first scored feature where ``all`` is not
    scored, carry the plain names, so that ``save_best='reid/mAP', rule='greater'`` works with
    every model; those of a named feature are called ``<feature>.mAP`` and so on.

    In several processes each sends its features to all, and ranks its share of the queries: the
    scores do not depend on the number of processes.

    Args:
        features: names of the features to score, ``'all'`` among them if wanted. None scores
            ``all`` and each one (a model with a single feature: that one).
        topk: ranks of the CMC to report.
        remove_same_camera: remove gallery images of the query's identity and camera; False suits
            data sets without cameras.
        memory_limit: bytes that ranking may use on top of the features.
        out_dir: save the features there (see :class:`FeatureSet`) before they are scored.
        collect_device: ``'cpu'``, or ``'gpu'`` to leave the features on the model's device and
            rank there.
        prefix: first part of the scores' names.

    Raises:
        ValueError: ``topk``, ``features`` or ``collect_device`` make no sense.
    """

    default_prefix = 'reid'

    def __init__(
        self,
        features: str | Sequence[str] | None = None,
        topk: Sequence[int] = (1, 5, 10),
        remove_same_camera: bool = True,
        memory_limit: int = 1 << 30,
        out_dir: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
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
        self.remove_same_camera = remove_same_camera
        self.memory_limit = memory_limit
        self.out_dir = out_dir
        self._widths: dict[str, int] | None = None
        self._feature_protocol: str | None = None
        self._problem: str | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the features of one batch, as float32, moved off the device once.

        Args:
            data_batch: unused.
            data_samples: for each image a dict with ``img_path``, ``person_id``, ``camera_id``,
                ``role``, ``sample_idx``, ``features`` (``dict[str, Tensor]`` of shape (D,) each)
                and, if the model tells, ``feature_protocol`` (str).

        Raises:
            ValueError: a sample lacks a field, has other features than the first one, or a NaN or
                infinite value.
        """
        if not data_samples or self._problem:
            return
        try:
            self._keep(data_samples)
        except ValueError as error:
            # Alone, stop at once. Among others, who would wait for this process, stop together in
            # `evaluate`.
            if get_world_size() == 1:
                raise
            self._problem = str(error)

    def _keep(self, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            self._check(sample)
        blocks = [
            torch.stack([sample['features'][name].detach() for sample in data_samples]).float()
            for name in self._widths
        ]
        features = torch.cat(blocks, dim=1)
        if self.collect_device == 'cpu':
            features = features.cpu()
        bad = (~features.isfinite().all(1)).nonzero().flatten().tolist()
        if bad:
            raise ValueError(
                f'{data_samples[bad[0]]["img_path"]}: its features hold a NaN or infinite value '
                f'({len(bad)} of {len(data_samples)} images of the batch do)'
            )
        labels = [
            [
                int(sample['sample_idx']),
                int(sample['person_id']),
                int(sample['camera_id']),
                ROLES.index(sample['role']),
            ]
            for sample in data_samples
        ]
        paths = [sample['img_path'] for sample in data_samples]
        self.results.append((features, torch.tensor(labels), paths))

    def _check(self, sample: dict) -> None:
        path = sample.get('img_path', '<no img_path>')
        missing = [key for key in (*REQUIRED, 'features') if sample.get(key) is None]
        if missing:
            raise ValueError(
                f'{path}: the sample lacks {", ".join(missing)}; the pipeline must pack the labels '
                'and the model must set `features`'
            )
        if sample['role'] not in ROLES:
            raise ValueError(
                f'{path}: role {sample["role"]!r} cannot be scored; evaluate queries and gallery'
            )
        features = sample['features']
        for name, feature in features.items():
            if feature.dim() != 1:
                raise ValueError(
                    f'{path}: feature {name!r} has shape {tuple(feature.shape)}, expected (D,)'
                )
        widths = {name: len(feature) for name, feature in features.items()}
        if self._widths is None:
            if not widths:
                raise ValueError(f'{path}: the model gave no feature')
            self._widths = widths
            self._feature_protocol = sample.get('feature_protocol')
        elif list(widths.items()) != list(self._widths.items()):
            raise ValueError(
                f'{path}: features {widths} differ from those of the images before, {self._widths}'
            )

    def evaluate(self, size: int) -> dict[str, float]:
        """Score the whole test set.

        Args:
            size: number of images in the data set; each of the samples 0..size-1 must have been
                processed, by whichever process, once or more.

        Returns:
            Scores in percent by name, the same in every process.

        Raises:
            ValueError: samples are missing, there is no query, no gallery or no query with a
                match, or processes disagree about the features.
        """
        try:
            feature_set = self._gather(size)
        finally:
            self.results.clear()
            self._widths = self._feature_protocol = self._problem = None
        if self.out_dir is not None and is_main():
            feature_set.save(self.out_dir)
            print_log(f'features saved in {self.out_dir}', logger='current')
        scores = self.compute_metrics(feature_set)
        return {f'{self.prefix}/{name}': score for name, score in scores.items()}

    def _gather(self, size: int) -> FeatureSet:
        """The features of all processes in the order of the data set, without repetitions."""
        features = [part[0] for part in self.results]
        labels = [part[1] for part in self.results]
        own_paths = [path for part in self.results for path in part[2]]
        labels = torch.cat(labels) if labels else torch.empty(0, 4, dtype=torch.int64)
        problem = self._problem
        for index, path in zip(labels[:, 0].tolist(), own_paths, strict=True):
            if not 0 <= index < size:
                problem = problem or f'{path}: sample_idx {index} is outside a data set of {size}'
        _raise_together(problem)
        own = {
            'widths': self._widths,
            'feature_protocol': self._feature_protocol,
            'count': len(own_paths),
        }
        heads = all_gather_object(own)
        known = [head for head in heads if head['count']]
        if not known:
            raise ValueError('no sample was processed: the test set is empty')
        widths = known[0]['widths']
        for head in known:
            if list(head['widths'].items()) != list(widths.items()):
                raise ValueError(
                    f'processes have different features: {widths} and {head["widths"]}'
                )
        device = features[0].device if features else torch.device('cpu')
        total = sum(widths.values())
        gathered = torch.empty(size, total, dtype=torch.float32, device=device)
        table = torch.full((size, 4), -1, dtype=torch.int64)
        paths: list[str | None] = [None] * size

        longest = max(head['count'] for head in heads)
        step = min(longest, max(1, GATHER_BYTES // (4 * total)))
        flat = torch.cat(features) if features else torch.empty(0, total, device=device)
        features.clear()
        self.results.clear()
        for start in range(0, longest, step):
            part, part_labels = flat[start : start + step], labels[start : start + step]
            short = step - len(part)
            if get_world_size() > 1 and short:
                part = torch.cat([part, part.new_zeros(short, total)])
                part_labels = torch.cat([part_labels, part_labels.new_full((short, 4), -1)])
            parts, parts_labels = all_gather(part), all_gather(part_labels)
            # Backwards, so that a repeated sample keeps the features of the lowest rank.
            for rows, row_labels in zip(parts[::-1], parts_labels[::-1], strict=True):
                real = row_labels[:, 0] >= 0
                index = row_labels[real, 0]
                gathered[index.to(device)] = rows[real.to(device)]
                table[index] = row_labels[real]
        for indices, names in all_gather_object((labels[:, 0].tolist(), own_paths)):
            for index, path in zip(indices, names, strict=True):
                paths[index] = path
        absent = (table[:, 0] < 0).nonzero().flatten().tolist()
        if absent:
            raise ValueError(
                f'{len(absent)} of {size} samples were not processed, the first with sample_idx '
                f'{absent[0]}: the data loader must visit the whole test set'
            )
        meta = self.dataset_meta or {}
        protocol = {key: meta[key] for key in PROTOCOL_KEYS if meta.get(key) is not None}
        if known[0]['feature_protocol']:
            protocol['feature_protocol'] = known[0]['feature_protocol']
        return FeatureSet(
            features=gathered,
            widths=widths,
            person_ids=table[:, 1].clone(),
            camera_ids=table[:, 2].clone(),
            roles=[ROLES[role] for role in table[:, 3].tolist()],
            img_paths=paths,
            protocol=protocol,
        )

    def compute_metrics(self, results: FeatureSet) -> dict[str, float]:
        """Score a set of features and log the table; also for features that were saved before.

        Args:
            results: the features of the whole test set, the same in every process.

        Returns:
            Scores in percent by name, without prefix.

        Raises:
            ValueError: no query, no gallery image, no query with a match, or an unknown feature
                name.
        """
        query, gallery = results.rows('query'), results.rows('gallery')
        for rows, role in ((query, 'query'), (gallery, 'gallery')):
            if not len(rows):
                raise ValueError(
                    f'the test set has no {role} image among its {len(results)}: evaluate a split '
                    'of queries and gallery images'
                )
        names = self._names(results)
        rankings = {name: self._rank(results, name, query, gallery) for name in names}
        print_log(
            format_scores(results, rankings, self.topk, self.remove_same_camera),
            logger='current',
        )
        scores: dict[str, float] = {}
        headline = ALL if ALL in rankings else names[0]
        for name in (headline, *(names if len(names) > 1 else ())):
            if name == ALL and scores:
                continue
            start = f'{name}.' if scores else ''
            ranking = rankings[name]
            scores[f'{start}mAP'] = 100 * ranking.mAP
            for rank in self.topk:
                scores[f'{start}rank{rank}'] = 100 * float(ranking.cmc[rank - 1])
            scores[f'{start}mINP'] = 100 * ranking.mINP
        return scores

    def _names(self, feature_set: FeatureSet) -> list[str]:
        if self.features is None:
            return [*feature_set.names, *([ALL] if len(feature_set.names) > 1 else [])]
        unknown = set(self.features) - {ALL, *feature_set.names}
        if unknown:
            raise ValueError(
                f'features {sorted(unknown)} are to be scored, but the model gives '
                f'{", ".join(feature_set.names)}'
            )
        return list(self.features)

    def _rank(
        self, feature_set: FeatureSet, name: str, query: Tensor, gallery: Tensor
    ) -> RankingResult:
        features = feature_set.select(name)
        device = features.device
        gallery_features = normalize(features[gallery.to(device)])
        share = query[get_rank() :: get_world_size()]
        # Sums over the processes: each query is measured by one of them and 0 in all others.
        measured = [
            torch.zeros(len(query), dtype=dtype, device=device)
            for dtype in (torch.float64, torch.float64, torch.int64)
        ]
        max_rank = max(50, *self.topk)
        problem = None
        if len(share):
            try:
                ranks = rank_queries(
                    normalize(features[share.to(device)]),
                    gallery_features,
                    feature_set.person_ids[share],
                    feature_set.person_ids[gallery],
                    feature_set.camera_ids[share],
                    feature_set.camera_ids[gallery],
                    max_rank=max_rank,
                    remove_same_camera=self.remove_same_camera,
                    memory_limit=self.memory_limit,
                )
            except ValueError as error:
                problem = str(error)
            else:
                for total, part in zip(measured, ranks, strict=True):
                    total[get_rank() :: get_world_size()] = part
        _raise_together(problem)
        for total in measured:
            all_reduce(total)
        return RankingResult.from_queries(*measured, max_rank=max_rank)


def _raise_together(problem: str | None) -> None:
    """Raise the first problem of any process in all of them, so that none waits for another."""
    for found in all_gather_object(problem):
        if found:
            raise ValueError(found)
