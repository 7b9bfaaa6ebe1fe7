"""Scores over several splits of one test set: their mean and their deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import ScoringInputError
from .ranking_result import RankingResult


@dataclass(frozen=True)
class MeanScores:
    """A number for each score of a ranking: the mean, or the deviation, over several splits.

    Attributes:
        cmc: Of the CMC curve's points, (max_rank,) float64 in [0, 1].
        mAP: Of mAP, in [0, 1].
        mINP: Of mINP, in [0, 1].
        tied: Of the share of tied matches, in [0, 1].
    """

    cmc: Tensor
    mAP: float
    mINP: float
    tied: float


@dataclass(frozen=True)
class RepeatedResult:
    """Scores over n splits of a test set, each split with the same weight.

    Attributes:
        mean: The mean.
        deviation: The sample standard deviation, with n - 1.
        num_splits: Number of splits, n.
    """

    mean: MeanScores
    deviation: MeanScores
    num_splits: int

    @classmethod
    def from_results(cls, results: Sequence[RankingResult]) -> RepeatedResult:
        """Average the scores of the splits.

        Args:
            results: The score of each split, with CMC curves of one length.

        Returns:
            Mean and deviation.

        Raises:
            ScoringInputError: There are fewer than two splits, which have no deviation.
        """
        if len(results) < 2:
            raise ScoringInputError(
                f'mean and deviation need at least 2 splits, got {len(results)}'
            )
        cmc = torch.stack([result.cmc for result in results])
        numbers = [(result.mAP, result.mINP, result.tied) for result in results]
        columns = torch.tensor(numbers, dtype=torch.float64)
        return cls(
            mean=MeanScores(cmc.mean(0), *columns.mean(0).tolist()),
            deviation=MeanScores(cmc.std(0), *columns.std(0).tolist()),
            num_splits=len(results),
        )
