"""Mean scores over all orders of ties, each equally likely.

A query's *tie* holds n matches and e entries of other identities at one distance; s entries are
nearer, h of them matches. Average precision follows McSherry and Najork, "Computing Information
Retrieval Performance Measures Efficiently in the Presence of Tied Scores" (ECIR 2008).
"""

from __future__ import annotations

import torch
from torch import Tensor

# Ties stand in gallery order, or the scores are the mean over all orders of the entries of a tie.
TIES = ('order', 'expected')
# Bytes of temporaries for each of the positions in a tie.
BYTES_PER_POSITION = 48


def expected_precision(before: Tensor, hits: Tensor, matches: Tensor, others: Tensor) -> Tensor:
    """Compute the mean precision at a match of a tie, over the matches and all orders.

    Position j of the tie shows a match with probability n / t, where t = n + e; then on average
    (j - 1) (n - 1) / (t - 1) of those before it in the tie are matches. The sum over j of the
    precision is a difference of harmonic numbers.

    Args:
        before: Entries nearer than the tie, s, (P,) float64.
        hits: Matches among them, h, (P,) float64.
        matches: Matches in the tie, n, (P,) float64, at least 1.
        others: Other identities in the tie, e, (P,) float64, at least 1.

    Returns:
        (P,) float64 in (0, 1].

    Example:
        >>> zero, one = torch.zeros(1).double(), torch.ones(1).double()
        >>> expected_precision(zero, zero, one, one)  # of 1/1 and 1/2
        tensor([0.7500], dtype=torch.float64)
    """
    total = matches + others
    harmonic = torch.digamma(before + total + 1) - torch.digamma(before + 1)
    growth = (matches - 1) / (total - 1)
    return ((hits + 1) * harmonic + growth * (total - (before + 1) * harmonic)) / total


def expected_reciprocal_last(
    before: Tensor, matches: Tensor, others: Tensor, max_bytes: int
) -> Tensor:
    """Compute the mean of 1 / position of a tie's last match over all orders.

    Position j of the tie holds it with probability C(j - 1, n - 1) / C(t, n); there is no closed
    form, so the e + 1 positions are summed up.

    Args:
        before: Entries nearer than the tie, s, (P,) float64.
        matches: Matches in the tie, n, (P,) float64, at least 1.
        others: Other identities in the tie, e, (P,) float64.
        max_bytes: Memory for temporaries; one tie at least is worked on.

    Returns:
        (P,) float64 in (0, 1].

    Example:
        >>> zero, one = torch.zeros(1).double(), torch.ones(1).double()
        >>> expected_reciprocal_last(zero, one, one, 1 << 20)  # of 1/1 and 1/2
        tensor([0.7500], dtype=torch.float64)
    """
    result = torch.empty_like(before)
    if not len(before):
        return result
    # From the last position of the tie towards the first.
    steps = torch.arange(int(others.max()) + 1, dtype=before.dtype, device=before.device)
    rows = max(1, max_bytes // (len(steps) * BYTES_PER_POSITION))
    for part in torch.arange(len(before), device=before.device).split(rows):
        n, e = matches[part, None], others[part, None]
        # A position is as likely as the one after it times this; 0 where the matches do not fit.
        chance = (e - steps + 1).clamp_min_(0).div_((n + e - steps).clamp_min_(1))
        chance[:, :1] = n / (n + e)
        position = (before[part, None] + n + e - steps).clamp_min_(1)
        result[part] = chance.cumprod_(dim=1).div_(position).sum(1)
    return result


def hit_probability(before: Tensor, matches: Tensor, others: Tensor, rank: int) -> Tensor:
    """Compute how likely a match of a tie is among the first entries, over all orders.

    Args:
        before: Entries nearer than the tie, s, (P,) float64.
        matches: Matches in the tie, n, (P,) float64.
        others: Other identities in the tie, e, (P,) float64.
        rank: Number of first entries.

    Returns:
        (P,) float64 in [0, 1]: one less the hypergeometric probability of no match.

    Example:
        >>> before, matches, others = torch.tensor([[2.0], [1.0], [3.0]], dtype=torch.float64)
        >>> [float(hit_probability(before, matches, others, rank)) for rank in (2, 6)]
        [0.0, 1.0]
    """
    drawn = rank - before
    total = matches + others
    inside = drawn.clamp_min(0).minimum(others)
    # C(t - j, n) / C(t, n) for the j entries of the tie that are among the first.
    miss = (total - inside + 1).lgamma() - (others - inside + 1).lgamma()
    miss += (others + 1).lgamma() - (total + 1).lgamma()
    miss = torch.where(drawn > 0, miss.exp(), 1.0)
    return 1 - torch.where(drawn > others, 0.0, miss)
