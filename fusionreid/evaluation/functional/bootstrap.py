"""Estimates how much scores depend on the queries that happen to be in the test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import ScoringInputError
from .ranking_result import RankingResult
from .validation import as_labels

# Queries drawn at once; bounds the memory. The draws do not depend on it.
DRAWN_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class ScoreSpread:
    """A score, and what it is over random choices of queries.

    Attributes:
        score: Of all valid queries.
        mean: Over the random choices.
        deviation: Standard deviation over the random choices.
        low: Lower end of the interval that holds the wanted share of them.
        high: Upper end.
    """

    score: float
    mean: float
    deviation: float
    low: float
    high: float


def bootstrap_scores(
    result: RankingResult,
    *,
    ranks: Sequence[int] = (1,),
    num_samples: int = 1000,
    confidence: float = 0.95,
    groups: Tensor | Sequence[int] | None = None,
    seed: int = 0,
) -> dict[str, ScoreSpread]:
    """Estimate how uncertain scores are: the percentile bootstrap over queries (Efron, 1979).

    As many valid queries as there are are drawn with replacement, again and again; all scores are
    taken from the same draws. The spread tells how much the scores would change with other queries
    of the same kind, not with another gallery or another training.

    Photos of one person are easy or hard together, so drawing single queries makes the spread look
    smaller than it is. With ``groups``, whole groups are drawn instead: give the queries'
    identities to draw people.

    Args:
        result: A ranking.
        ranks: The k of the ``rank{k}`` (CMC) wanted.
        num_samples: Number of random choices.
        confidence: Share of the choices between ``low`` and ``high``, in (0, 1).
        groups: (q,) integers, one for each query of the result, valid or not; queries with the
            same number are drawn together.
        seed: The same seed gives the same numbers.

    Returns:
        ``mAP``, ``rank{k}`` for each of ``ranks``, and ``mINP``, as fractions in [0, 1].

    Raises:
        TypeError: Groups that are not integers.
        ScoringInputError: A rank, ``num_samples`` or ``confidence`` out of range, or groups of the
            wrong length.

    Example:
        >>> from fusionreid.evaluation.functional import evaluate_ranking
        >>> query, gallery = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.1], [1.8], [2.7]])
        >>> result = evaluate_ranking(query, gallery, [1, 2], [1, 3, 2], remove_same_camera=False)
        >>> spread = bootstrap_scores(result)['rank1']
        >>> spread.score, spread.low, spread.high
        (0.5, 0.0, 1.0)
    """
    _check(ranks, num_samples, confidence)
    valid, values = _valid_scores(result, ranks)
    means = _resample(values, valid, groups, num_samples, seed)
    return _spreads(values, means, ranks, confidence)


def bootstrap_gain(
    results: Sequence[RankingResult],
    baseline: Sequence[RankingResult],
    *,
    ranks: Sequence[int] = (1,),
    num_samples: int = 1000,
    confidence: float = 0.95,
    groups: Tensor | Sequence[int] | None = None,
    seed: int = 0,
) -> dict[str, ScoreSpread]:
    """Estimate how uncertain the gain over a baseline is: the paired bootstrap over queries.

    Each query gives one number: its score in the mean over the rankings, less that over the
    rankings of the baseline. These are drawn as in :func:`bootstrap_scores`. What makes a query
    hard for both cancels out, so that the spread is smaller than that of either score.

    Args:
        results: Rankings of the same queries, e.g. of one model with several seeds.
        baseline: Rankings of the same queries, in the same order, as many or not.
        ranks: As in :func:`bootstrap_scores`, as are all others.
        num_samples: Number of random choices.
        confidence: Share of the choices between ``low`` and ``high``, in (0, 1).
        groups: (q,) integers; queries with the same number are drawn together.
        seed: The same seed gives the same numbers.

    Returns:
        Gain in ``mAP``, ``rank{k}`` for each of ``ranks``, and ``mINP``, in [-1, 1].

    Raises:
        TypeError: Groups that are not integers.
        ScoringInputError: No ranking, rankings of different queries, or another argument out of
            range.

    Example:
        >>> from fusionreid.evaluation.functional import evaluate_ranking
        >>> query, gallery = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.1], [1.8], [2.7]])
        >>> labels = dict(query_ids=[1, 2], gallery_ids=[1, 3, 2], remove_same_camera=False)
        >>> better = evaluate_ranking(query, torch.tensor([[1.0], [5.0], [2.0]]), **labels)
        >>> gain = bootstrap_gain([better], [evaluate_ranking(query, gallery, **labels)])['mAP']
        >>> gain.score, gain.low, gain.high
        (0.25, 0.0, 0.5)
    """
    _check(ranks, num_samples, confidence)
    if not results or not baseline:
        raise ScoringInputError('a gain needs a ranking on both sides')
    valid, _ = _valid_scores(results[0], ranks)
    means = []
    for side in (results, baseline):
        scores = [_valid_scores(result, ranks) for result in side]
        if not all(torch.equal(own, valid) for own, _ in scores):
            raise ScoringInputError('the rankings are of different queries, which cannot be paired')
        means.append(torch.stack([values for _, values in scores]).mean(0))
    values = means[0] - means[1]
    drawn = _resample(values, valid, groups, num_samples, seed)
    return _spreads(values, drawn, ranks, confidence)


def subset_scores(
    result: RankingResult,
    size: int,
    *,
    ranks: Sequence[int] = (1,),
    num_subsets: int = 100,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, ScoreSpread]:
    """Score random subsets of the queries, each ranked in the whole gallery.

    Args:
        result: A ranking.
        size: Valid queries in a subset, drawn without replacement.
        ranks: The k of the ``rank{k}`` (CMC) wanted.
        num_subsets: Number of subsets.
        confidence: Share of the subsets between ``low`` and ``high``, in (0, 1).
        seed: The same seed gives the same numbers.

    Returns:
        ``mAP``, ``rank{k}`` for each of ``ranks``, and ``mINP``, as fractions in [0, 1].

    Raises:
        ScoringInputError: ``size`` is not in 1..num_valid_queries, or another argument is out of
            range.

    Example:
        >>> from fusionreid.evaluation.functional import evaluate_ranking
        >>> query, gallery = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.1], [1.8], [2.7]])
        >>> result = evaluate_ranking(query, gallery, [1, 2], [1, 3, 2], remove_same_camera=False)
        >>> spread = subset_scores(result, size=1)['mAP']
        >>> spread.score, spread.low, spread.high
        (0.75, 0.5, 1.0)
    """
    _check(ranks, num_subsets, confidence)
    _, values = _valid_scores(result, ranks)
    if not 1 <= size <= len(values):
        raise ScoringInputError(
            f'size={size} is outside 1..{len(values)}, the number of valid queries'
        )
    generator = torch.Generator().manual_seed(seed)
    means = torch.empty(num_subsets, values.shape[1], dtype=torch.float64)
    for number in range(num_subsets):
        drawn = torch.randperm(len(values), generator=generator)[:size]
        # In order, so that the subset of all queries adds up to the very score.
        means[number] = values[drawn.sort().values].mean(0)
    return _spreads(values, means, ranks, confidence)


def _valid_scores(result: RankingResult, ranks: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Which queries are valid, and their AP, hits at the ranks and INP, (v, 2 + len(ranks))."""
    valid = result.first_match_rank.cpu() > 0
    columns = [
        result.average_precision.cpu(),
        *(result.queries.hits(rank).cpu() for rank in ranks),
        result.inverse_negative_penalty.cpu(),
    ]
    return valid, torch.stack(columns, dim=1)[valid]


def _resample(
    values: Tensor,
    valid: Tensor,
    groups: Tensor | Sequence[int] | None,
    num_samples: int,
    seed: int,
) -> Tensor:
    """Means of values (v, n) over queries or groups drawn with replacement, (num_samples, n)."""
    if groups is None:
        sums, sizes = values, torch.ones(len(values), dtype=torch.float64)
    else:
        groups = as_labels(groups, len(valid), 'groups', torch.device('cpu'))[valid]
        _, group_of, sizes = groups.unique(return_inverse=True, return_counts=True)
        sums = torch.zeros(len(sizes), values.shape[1], dtype=torch.float64)
        sums.index_add_(0, group_of, values)
        sizes = sizes.double()
    generator = torch.Generator().manual_seed(seed)
    count, parts = len(sums), []
    at_once = max(1, DRAWN_AT_ONCE // count)
    for start in range(0, num_samples, at_once):
        draws = min(at_once, num_samples - start)
        drawn = torch.randint(count, (draws, count), generator=generator)
        # How often each is drawn: the means are then one matrix product.
        drawn += torch.arange(draws)[:, None] * count
        times = torch.bincount(drawn.flatten(), minlength=draws * count).view(draws, count).double()
        parts.append((times @ sums) / (times @ sizes)[:, None])
    return torch.cat(parts)


def _spreads(
    values: Tensor, means: Tensor, ranks: Sequence[int], confidence: float
) -> dict[str, ScoreSpread]:
    tail = (1 - confidence) / 2
    tails = torch.tensor([tail, 1 - tail], dtype=torch.float64)
    low, high = means.quantile(tails, dim=0)
    names = ['mAP', *(f'rank{rank}' for rank in ranks), 'mINP']
    table = torch.stack([values.mean(0), means.mean(0), means.std(0), low, high], dim=1)
    return {name: ScoreSpread(*row) for name, row in zip(names, table.tolist(), strict=True)}


def _check(ranks: Sequence[int], num_choices: int, confidence: float) -> None:
    for rank in ranks:
        if rank < 1:
            raise ScoringInputError(f'a rank must be at least 1, got {rank}')
    if num_choices < 2:
        raise ScoringInputError(f'a deviation needs at least 2 random choices, got {num_choices}')
    if not 0 < confidence < 1:
        raise ScoringInputError(f'confidence must be between 0 and 1, got {confidence}')
