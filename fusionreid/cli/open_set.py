"""Scores of searches for people who may not be in the gallery, by several distances."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from fusionreid.errors import ScoringError
from fusionreid.evaluation.functional import (
    camera_means,
    center_cameras,
    cohort_statistics,
    evaluate_distances,
    evaluate_open_set,
    evaluate_open_set_distances,
    evaluate_ranking,
    normalized_blocks,
)
from fusionreid.evaluation.metrics.open_set_scores import DEFAULT_FPIRS, OpenSetScores

from .labeled_features import LabeledFeatures

PLAIN, CENTERED, NORMALIZED = 'Euclidean distance', 'cameras centered', 'AS-norm'


def add_open_set_argument(parser: argparse.ArgumentParser) -> None:
    """Add the rates at which searches are scored.

    Args:
        parser: Parser to add them to.
    """
    defaults = ' '.join(f'{fpir:g}' for fpir in DEFAULT_FPIRS)
    parser.add_argument(
        '--open-set',
        type=_rate,
        nargs='*',
        metavar='RATE',
        help='also score searches for people who may not be in the gallery (TPIR), at these shares '
        f'of searches for strangers that find somebody (FPIR; default: {defaults})',
    )


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number') from None
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'must be a share of the searches in 0..1, got {text}')
    return value


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
    plain = OpenSetScores.at(ranking, evaluate_open_set(query, gallery, *labels, **options), fpirs)
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
        OpenSetScores.at(ranking, evaluate_open_set_distances(blocks(), *labels, **half), fpirs),
    ]


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
