"""Scores of searches for people who may not be in the gallery, as a table and by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusionreid.utils.tables import markdown_table

from ..functional import OpenSetPoint, OpenSetResult, RankingResult

# Scores of such searches are called `open_set.tpir_at_0.01` and so on.
OPEN_SET = 'open_set'
DEFAULT_FPIRS = (0.01, 0.1)
# Fewer searches of strangers tell no rate of a percent.
FEW_EVENTS = 10


@dataclass(frozen=True)
class OpenSetScores:
    """What one feature, or one way to compare photos, comes to.

    Args:
        ranking: Its ranking.
        result: Its searches.
        points: Its rates, one for each FPIR.
    """

    ranking: RankingResult
    result: OpenSetResult
    points: Sequence[OpenSetPoint]

    @classmethod
    def at(
        cls, ranking: RankingResult, result: OpenSetResult, fpirs: Sequence[float]
    ) -> OpenSetScores:
        """Find the rates at some false positive identification rates.

        Args:
            ranking: The ranking.
            result: The searches.
            fpirs: The rates, in [0, 1].

        Returns:
            The scores.
        """
        return cls(ranking, result, [result.at_fpir(fpir) for fpir in fpirs])

    def by_name(self) -> dict[str, float]:
        """Name the scores as a metric does.

        Returns:
            Of each FPIR: TPIR and FPIR in percent, and the distance up to which entries are
            answers, which is left out where it is infinite; and the numbers of searches.
        """
        scores: dict[str, float] = {}
        for point in self.points:
            at = f'at_{point.target_fpir:g}'
            scores[f'tpir_{at}'] = 100 * point.tpir
            scores[f'fpir_{at}'] = 100 * point.fpir
            if math.isfinite(point.threshold):
                scores[f'threshold_{at}'] = point.threshold
        scores['num_known'] = self.result.num_known
        scores['num_strangers'] = self.result.num_strangers
        return scores


def open_set_names(fpirs: Sequence[float]) -> list[str]:
    """List the scores that searches get, as :meth:`OpenSetScores.by_name` names them.

    Args:
        fpirs: False positive identification rates.

    Returns:
        Names of the scores.

    Example:
        >>> open_set_names([0.1])
        ['tpir_at_0.1', 'fpir_at_0.1', 'threshold_at_0.1', 'num_known', 'num_strangers']
    """
    each = [
        f'{what}_at_{fpir:g}'
        for fpir in fpirs
        for what in ('tpir', 'fpir', *(('threshold',) if fpir < 1 else ()))
    ]
    return [*each, 'num_known', 'num_strangers']


def check_fpirs(fpirs: Sequence[float]) -> None:
    """Check rates that a config sets.

    Args:
        fpirs: False positive identification rates.

    Raises:
        ValueError: They are no several distinct numbers in [0, 1].
    """
    if (
        not isinstance(fpirs, Sequence)
        or not fpirs
        or len(set(fpirs)) != len(fpirs)
        or not all(isinstance(fpir, (int, float)) and 0 <= fpir <= 1 for fpir in fpirs)
    ):
        raise ValueError(
            f'open_set must be distinct rates in [0, 1], such as (0.01, 0.1), got {fpirs!r}'
        )


def open_set_text(scores: Mapping[str, OpenSetScores], subject: str = 'compared by') -> str:
    """Lay out the scores.

    Args:
        scores: Scores by what they are of.
        subject: What that is.

    Returns:
        A heading and a table, in percent, with a warning where the searches are few.
    """
    first = next(iter(scores.values()))
    points = first.points
    rows = [
        [
            subject,
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
