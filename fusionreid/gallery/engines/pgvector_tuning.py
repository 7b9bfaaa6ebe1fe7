"""How many candidates an HNSW index needs to find enough of the nearest, measured on the items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

# As many candidates as pgvector allows.
LARGEST_EF = 1000
CANDIDATES = (10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400, 600, 800, LARGEST_EF)
QUERIES, K = 64, 10
TOLERANCE = 1e-4
# A gallery that has grown by this factor is measured again.
GROWTH = 1.5


@dataclass(frozen=True)
class Tuning:
    """What was measured.

    Args:
        ef_search: Candidates of a search.
        recall: Share of the ten nearest that they found.
        size: Items at that time.
        target: What the share was to be.
    """

    ef_search: int
    recall: float
    size: int
    target: float

    def as_dict(self) -> dict[str, Any]:
        """The values, as JSON can hold them."""
        return asdict(self)

    def fits(self, size: int, target: float) -> bool:
        """Tell whether it still holds.

        Args:
            size: Items today.
            target: What the share is to be today.
        """
        return self.target == target and self.size / GROWTH <= size <= self.size * GROWTH


def choose_ef(
    sample: Callable[[int, int], np.ndarray],
    nearest: Callable[[np.ndarray, int, int | None], np.ndarray],
    size: int,
    target: float,
) -> Tuning:
    """Find the fewest candidates with which a search finds enough.

    The mean share must exceed the target by its own standard error, so that other queries reach it
    too.

    Args:
        sample: Gives features of so many items, with a seed.
        nearest: Gives the distances of the k nearest of queries with so many candidates, exact for
            None.
        size: Number of items.
        target: Share of the ten nearest.

    Returns:
        What was chosen: the most candidates, if none are enough.
    """
    queries = _draw_queries(sample, nearest)
    k = min(K, size)
    kth = nearest(queries, k, None)[:, -1:]
    for ef in CANDIDATES:
        shares = (nearest(queries, k, ef) <= kth + TOLERANCE).mean(axis=1)
        error = shares.std() / np.sqrt(len(shares))
        if shares.mean() - error >= target or (shares == 1).all():
            break
    return Tuning(ef, float(shares.mean()), size, target)


def _draw_queries(
    sample: Callable[[int, int], np.ndarray],
    nearest: Callable[[np.ndarray, int, int | None], np.ndarray],
) -> np.ndarray:
    """Draw queries (Q, D) that lie as far from an item as its own nearest one.

    An item itself is too easy a query: the index links it with the very items that are to be found.
    It is moved along the difference of two others, which has the directions of the data.
    """
    items = sample(QUERIES, 0)
    moves = sample(QUERIES, 1) - sample(QUERIES, 2)
    lengths = np.linalg.norm(moves, axis=1, keepdims=True)
    moves = np.divide(moves, lengths, out=np.zeros_like(moves), where=lengths > 0)
    queries = items + moves * nearest(items, 2, None)[:, 1:]
    return (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
