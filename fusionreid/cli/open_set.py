"""Scores of searches for people who may not be in the gallery, by several distances."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from fusionreid.errors import ScoringError
from fusionreid.evaluation.functional import (
    OpenSetPoint,
    OpenSetResult,
    RankingResult,
    camera_means,
    center_cameras,
    cohort_statistics,
    evaluate_distances,
    evaluate_open_set,
    evaluate_open_set_distances,
    evaluate_ranking,
    normalized_blocks,
)
from fusionreid.utils.tables import markdown_table

from .labeled_features import LabeledFeatures

PLAIN, CENTERED, NORMALIZED = 'Euclidean distance', 'cameras centered', 'AS-norm'
# Fewer searches of strangers tell no rate of a percent.
FEW_EVENTS = 10


@dataclass(frozen=True)
class OpenSetScores:
    """What one way to compare photos comes to.

    Args:
        ranking: Its ranking.
        result: Its searches.
        points: Its rates, one for each FPIR.
    """

    ranking: RankingResult
    result: OpenSetResult
    points: Sequence[OpenSetPoint]


def score_open_set(
    arguments: tuple[Tensor, ...],
    fpirs: Sequence[float],
    *,
    center: bool,
    cohort: LabeledFeatures | None,
    cohort_size: int | None,
    **options: Any,
) -> dict[str, OpenSetScores]:
    """Score queries and gallery in all ways that are asked for.

    Args:
        arguments: Features, identities and cameras of queries and gallery, as the scoring
            functions take them.
        fpirs: False positive identification rates.
        center: Also without the mean feature of each camera's gallery images.
        cohort: Other people, for normalized distances; None for none.
        cohort_size: Photos of the cohort that count.
        **options: Further arguments of the scoring functions.

    Returns:
        The scores by what was done.

    Raises:
        ScoringError: The cohort has features of another width.
    """
    query, gallery, *labels = arguments
    if cohort is not None and cohort.features.shape[1] != query.shape[1]:
        raise ScoringError(
            f'the cohort {cohort.data} has features of width {cohort.features.shape[1]}, those to '
            f'score have {query.shape[1]}: extract it with the same model and feature'
        )
    others = None if cohort is None else cohort.features
    scores = _score_both(query, gallery, labels, fpirs, others, cohort_size, options)
    named = dict(zip((PLAIN, NORMALIZED), scores, strict=False))
    if not center:
        return named
    query_cameras, gallery_cameras = labels[2:]
    means = camera_means([(gallery, gallery_cameras)])
    query = center_cameras(query, query_cameras, means)
    gallery = center_cameras(gallery, gallery_cameras, means)
    if cohort is not None:
        others = center_cameras(cohort.features, cohort.camera_ids, means)
    scores = _score_both(query, gallery, labels, fpirs, others, cohort_size, options)
    return named | dict(zip((CENTERED, f'{CENTERED}, {NORMALIZED}'), scores, strict=False))


def _score_both(
    query: Tensor,
    gallery: Tensor,
    labels: Sequence[Tensor],
    fpirs: Sequence[float],
    cohort: Tensor | None,
    cohort_size: int | None,
    options: dict[str, Any],
) -> list[OpenSetScores]:
    """Score by Euclidean distance and, with a cohort, by normalized distances."""
    ranking = evaluate_ranking(query, gallery, *labels, **options)
    plain = _scores(ranking, evaluate_open_set(query, gallery, *labels, **options), fpirs)
    if cohort is None:
        return [plain]
    limit = options['memory_limit']
    of_query, of_gallery = (
        cohort_statistics(features, cohort, cohort_size, memory_limit=limit)
        for features in (query, gallery)
    )

    def blocks() -> Iterator[Tensor]:
        return normalized_blocks(query, gallery, of_query, of_gallery, memory_limit=limit // 2)

    # Half of the memory for the blocks, half for what is made of them.
    half = dict(options, memory_limit=limit // 2)
    ranking = evaluate_distances(blocks(), *labels, **half)
    return [
        plain,
        _scores(ranking, evaluate_open_set_distances(blocks(), *labels, **half), fpirs),
    ]


def _scores(ranking: RankingResult, result: OpenSetResult, fpirs: Sequence[float]) -> OpenSetScores:
    return OpenSetScores(ranking, result, [result.at_fpir(fpir) for fpir in fpirs])


def open_set_text(scores: dict[str, OpenSetScores]) -> str:
    """Lay out the scores.

    Args:
        scores: From :func:`score_open_set`.

    Returns:
        A heading and a table, in percent, with a warning where the searches are few.
    """
    first = next(iter(scores.values()))
    points = first.points
    rows = [
        [
            'compared by',
            'mAP',
            'Rank-1',
            *(f'TPIR at FPIR {100 * point.target_fpir:g}%' for point in points),
            *(f'nearer than, at {100 * point.target_fpir:g}%' for point in points),
        ]
    ]
    for name, own in scores.items():
        rows.append(
            [
                name,
                f'{100 * own.ranking.mAP:.2f}',
                f'{100 * float(own.ranking.cmc[0]):.2f}',
                *(f'{100 * point.tpir:.2f}' for point in own.points),
                *(f'{point.threshold:.4f}' for point in own.points),
            ]
        )
    strangers = first.result.num_strangers
    text = (
        f'Who is found, while strangers are not? {first.result.num_known} searches for people who '
        f'are in the gallery, {strangers} for strangers (each query without the images of its '
        f'person), at rank 1\n\n{markdown_table(rows)}'
    )
    few = [p.target_fpir for p in points if 0 < p.target_fpir * strangers < FEW_EVENTS]
    if few:
        text += (
            f'\n\nwarning: {", ".join(f"{100 * fpir:g}%" for fpir in few)} of {strangers} searches '
            f'is fewer than {FEW_EVENTS}: the rates at it rest on single searches'
        )
    return text


def open_set_record(scores: dict[str, OpenSetScores]) -> dict[str, Any]:
    """Write the scores as JSON can hold them.

    Args:
        scores: From :func:`score_open_set`.

    Returns:
        Numbers of searches, and fractions by what was done; null for an infinite threshold.
    """
    first = next(iter(scores.values())).result
    return {
        'num_known': first.num_known,
        'num_strangers': first.num_strangers,
        'scores': {
            name: {
                'mAP': own.ranking.mAP,
                'rank1': float(own.ranking.cmc[0]),
                'points': [
                    {
                        key: None if isinstance(value, float) and math.isinf(value) else value
                        for key, value in asdict(point).items()
                    }
                    for point in own.points
                ],
            }
            for name, own in scores.items()
        },
    }
