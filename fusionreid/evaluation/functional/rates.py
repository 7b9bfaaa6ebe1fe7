"""Rates of rare events, and how well they are known."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import ScoringInputError


def largest_count(rate: float, total: int) -> int:
    """Find the largest count that is at most a fraction of a total.

    Args:
        rate: The fraction, in [0, 1].
        total: The total.

    Returns:
        The count.

    Example:
        >>> largest_count(0.29, 100)
        29
    """
    count = int(rate * total)
    # The product may have been rounded to either side of a whole number.
    if (count + 1) / total <= rate:
        count += 1
    return count if count / total <= rate else count - 1


def wilson_interval(
    rates: Tensor, counts: Tensor, confidence: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Compute the confidence interval of a rate (Wilson, 1927).

    It also holds near 0, where few events or none were seen. Without any the upper end is
    ``3.84 / count`` for 95%, near to the rule of three.

    Args:
        rates: Fractions that were measured, any shape.
        counts: Numbers of independent trials that they come from, need not be whole; same shape.
        confidence: Wanted probability, in (0, 1).

    Returns:
        Lower and upper ends, in [0, 1].

    Raises:
        ScoringInputError: ``confidence`` is out of range.

    Example:
        >>> low, high = wilson_interval(torch.tensor(0.1), torch.tensor(100))
        >>> round(low.item(), 4), round(high.item(), 4)
        (0.0552, 0.1744)
    """
    if not 0 < confidence < 1:
        raise ScoringInputError(f'confidence must be between 0 and 1, got {confidence}')
    rates, counts = rates.double(), counts.double()
    square = torch.special.ndtri(torch.tensor((1 + confidence) / 2, dtype=torch.float64)).square()
    scale = 1 + square / counts
    middle = (rates + square / (2 * counts)) / scale
    spread = rates * (1 - rates) / counts + square / (4 * counts.square())
    half = (square * spread).sqrt() / scale
    return (middle - half).clamp(0, 1), (middle + half).clamp(0, 1)


def effective_number(
    rates: Tensor, variances: Tensor, total: int, events_needed: int = 30
) -> Tensor:
    """Tell how many independent trials would give rates of such variances.

    Where fewer events were seen than are needed to see whether they come in clusters, the number
    is no larger than that of the first rate with as many (the rule of 30: Doddington et al., 2000).

    Args:
        rates: Fractions, (P,) ascending.
        variances: Their variances, (P,).
        total: Number of trials, independent or not.
        events_needed: Number of events that are needed.

    Returns:
        (P,) float64, in [1, total].
    """
    binomial = rates * (1 - rates)
    number = torch.where(variances > 0, binomial / variances, total).clamp(1, total)
    enough = ((rates * total).round() >= events_needed) & (rates < 1)
    if enough.any():
        first = int(enough.to(torch.uint8).argmax())
        number[:first].clamp_max_(float(number[first]))
    return number
