"""What a ranking is worth: measured for each query, and averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .errors import ScoringInputError
from .ties import hit_probability


class QueryScores(NamedTuple):
    """What was measured for each of q queries.

    Attributes:
        average_precision: (q,) float64; NaN for a query without a match.
        inverse_negative_penalty: (q,) float64; NaN for a query without a match.
        first_match_rank: (q,) int64, 1-based; 0 for a query without a match. For expected scores
            the best one that the order of ties allows.
        num_matches: (q,) int64.
        num_tied: Matches whose precision depends on the order of ties, (q,) int64: those at the
            distance of an entry of another identity.
        first_tie: Matches and other entries at the distance of the first match, (q, 2) int64. For
            expected scores; 0 where no order is left open, and in gallery order.
    """

    average_precision: Tensor
    inverse_negative_penalty: Tensor
    first_match_rank: Tensor
    num_matches: Tensor
    num_tied: Tensor
    first_tie: Tensor

    @classmethod
    def unmeasured(cls, count: int, device: torch.device) -> QueryScores:
        """Make the scores of queries without a match.

        Args:
            count: Number of queries.
            device: Where they are kept.

        Returns:
            The scores, to be written to.
        """
        nan = torch.full((count,), float('nan'), dtype=torch.float64, device=device)
        zero = torch.zeros(count, dtype=torch.int64, device=device)
        return cls(nan, nan.clone(), zero, zero.clone(), zero.clone(), zero.new_zeros(count, 2))

    def take(self, rows: Tensor) -> QueryScores:
        """Take some of the queries.

        Args:
            rows: Mask or indices.

        Returns:
            Their scores, copied.
        """
        return QueryScores(*(part[rows] for part in self))

    def hits(self, rank: int) -> Tensor:
        """Tell which queries have a match among the first entries.

        Args:
            rank: Number of first entries.

        Returns:
            (q,) float64: 1 or 0, in between where that depends on the order of ties.
        """
        first = self.first_match_rank
        hits = ((first > 0) & (first <= rank)).double()
        tied = self.first_tie[:, 1] > 0
        if tied.any():
            hits[tied] = self._tied_hits(tied, rank)
        return hits

    def _tied_hits(self, tied: Tensor, rank: int) -> Tensor:
        matches, others = self.first_tie[tied].double().unbind(1)
        return hit_probability(self.first_match_rank[tied].double() - 1, matches, others, rank)

    def cumulative_matches(self, max_rank: int) -> Tensor:
        """Count the queries with a match among the first k entries.

        Args:
            max_rank: Largest k.

        Returns:
            (max_rank,) float64.
        """
        tied = self.first_tie[:, 1] > 0
        first = self.first_match_rank[(self.first_match_rank > 0) & ~tied]
        counts = torch.bincount((first - 1).clamp_max(max_rank), minlength=max_rank + 1)
        hits = counts[:max_rank].cumsum(0).double()
        if tied.any():
            for rank in range(1, max_rank + 1):
                hits[rank - 1] += self._tied_hits(tied, rank).sum()
        return hits


@dataclass(frozen=True)
class RankingResult:
    """Scores of a ranking.

    Attributes:
        cmc: Fraction of valid queries whose first match is among the first k entries, for k =
            1..max_rank; (max_rank,) float64 in [0, 1].
        mAP: Mean average precision over the valid queries, in [0, 1].
        mINP: Mean inverse negative penalty over the valid queries, in [0, 1].
        tied: Share of the matches whose precision depends on the order of ties, in [0, 1]: they
            are at the same distance as an entry of another identity. Near 1 for a collapsed model.
        num_valid_queries: Number of queries with at least one match.
        queries: What was measured for each query.
    """

    cmc: Tensor
    mAP: float
    mINP: float
    tied: float
    num_valid_queries: int
    queries: QueryScores

    @property
    def average_precision(self) -> Tensor:
        """(q,) float64; NaN for a query without a match."""
        return self.queries.average_precision

    @property
    def inverse_negative_penalty(self) -> Tensor:
        """(q,) float64; NaN for a query without a match."""
        return self.queries.inverse_negative_penalty

    @property
    def first_match_rank(self) -> Tensor:
        """(q,) int64, 1-based; 0 for a query without a match."""
        return self.queries.first_match_rank

    @classmethod
    def from_queries(cls, queries: QueryScores, max_rank: int) -> RankingResult:
        """Average what was measured for each query.

        Args:
            queries: What was measured.
            max_rank: Length of the CMC curve.

        Returns:
            The scores.

        Raises:
            ScoringInputError: No query has a match.
        """
        valid = queries.first_match_rank > 0
        count = int(valid.sum())
        if count == 0:
            raise ScoringInputError(
                f'none of the {len(valid)} queries has a match in the gallery: check that both use '
                'the same identity numbers, and that same-camera removal suits the data set (with '
                'one camera, or none, pass remove_same_camera=False)'
            )
        return cls(
            cmc=queries.cumulative_matches(max_rank) / count,
            mAP=float(queries.average_precision[valid].mean()),
            mINP=float(queries.inverse_negative_penalty[valid].mean()),
            tied=int(queries.num_tied.sum()) / int(queries.num_matches.sum()),
            num_valid_queries=count,
            queries=queries,
        )
