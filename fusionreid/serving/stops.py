"""The stops of the slider that draws the line between somebody and nobody."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fusionreid.apis import Calibration
from fusionreid.gallery import GallerySearchResult
from fusionreid.gallery.acceptance import Acceptance, choose_acceptance

LEAST, MOST = 1e-7, 0.2


@dataclass(frozen=True)
class Stop:
    """A false match rate that answers may have to keep to.

    Attributes:
        rate: Share of the pairs of different people that may be as near.
        acceptance: The distances that this means.
        search_rate: Share of searches for a stranger that find somebody, with its 95% interval.
    """

    rate: float
    acceptance: Acceptance
    search_rate: tuple[float, float, float]


def find_stops(calibration: Calibration | None, gallery_size: int) -> list[Stop]:
    """List the rates 1, 2 and 5 times powers of ten that a calibration can tell.

    Args:
        calibration: What distances mean; None gives no stops.
        gallery_size: Images that are searched.

    Returns:
        The stops, from the strictest on.
    """
    if calibration is None:
        return []
    stops: list[Stop] = []
    least = max(LEAST, 1 / calibration.pairs.num_different)
    for exponent in range(math.floor(math.log10(least)), 0):
        for digit in (1, 2, 5):
            rate = float(f'{digit}e{exponent}')
            if not least <= rate <= MOST:
                continue
            acceptance = choose_acceptance(calibration, gallery_size, None, rate, None)
            assert acceptance is not None
            estimate = calibration.search_rate(acceptance.distance, gallery_size)
            low, high = (float(end) for end in (estimate.low, estimate.high))
            stops.append(Stop(rate, acceptance, (float(estimate.rate), low, high)))
    return stops


def first_stops(
    found: GallerySearchResult, query_cameras: np.ndarray, stops: list[Stop]
) -> np.ndarray:
    """Tell for each item the strictest stop at which it is an answer.

    Args:
        found: Items found for Q queries, K for each at most.
        query_cameras: 0-based cameras of the queries (Q,), negative where unknown.
        stops: The stops.

    Returns:
        Positions of stops (Q, K) int64; ``len(stops)`` where it is an answer at none.
    """
    first = np.full(found.distances.shape, len(stops))
    for number in reversed(range(len(stops))):
        limits = stops[number].acceptance.limits(query_cameras, found.camera_ids)
        first[found.distances < limits] = number
    return first
