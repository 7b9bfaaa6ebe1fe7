"""From which distance on the nearest item is no answer, so that the answer is nobody."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Real

import numpy as np

from fusionreid.apis.calibration import Calibration, CameraPair
from fusionreid.errors import CalibrationError, GalleryError

from .search_result import GallerySearchResult


@dataclass(frozen=True)
class Acceptance:
    """Which items are near enough to be an answer.

    Args:
        distance: Items nearer than it are answers.
        by_cameras: Other distances, by the 0-based cameras of query and item.
    """

    distance: float
    by_cameras: Mapping[CameraPair, float] = field(default_factory=dict)

    def limits(self, query_cameras: np.ndarray, item_cameras: np.ndarray) -> np.ndarray:
        """Distances that items must be nearer than.

        Args:
            query_cameras: (Q,) int64, negative where unknown.
            item_cameras: (Q, K) int64, negative where unknown.

        Returns:
            (Q, K) float64.
        """
        limits = np.full(item_cameras.shape, self.distance)
        for (query, item), distance in self.by_cameras.items():
            limits[(query_cameras[:, None] == query) & (item_cameras == item)] = distance
        return limits

    def keep(
        self, found: GallerySearchResult, query_cameras: np.ndarray, k: int
    ) -> GallerySearchResult:
        """Leave only answers.

        Args:
            found: Items found for Q queries.
            query_cameras: (Q,) int64.
            k: Columns of the result.

        Returns:
            The first k answers of each query, filled up where there are fewer.
        """
        return found.keep(found.distances < self.limits(query_cameras, found.camera_ids), k)

    def is_open(
        self, found: GallerySearchResult, kept: GallerySearchResult, query_cameras: np.ndarray
    ) -> np.ndarray:
        """Tell where items beyond those that were found may be answers too.

        Args:
            found: Items found for Q queries.
            kept: The answers among them.
            query_cameras: (Q,) int64.

        Returns:
            (Q,) bool.
        """
        reach = np.full(len(found), self.distance)
        for (query, _), distance in self.by_cameras.items():
            concerned = query_cameras == query
            reach[concerned] = np.maximum(reach[concerned], distance)
        width = kept.ids.shape[1]
        is_full = found.counts == found.ids.shape[1]
        return is_full & (kept.counts < width) & (found.distances[:, -1] < reach)


def choose_acceptance(
    calibration: Calibration | None,
    gallery_size: int,
    max_distance: float | None,
    max_fpr: float | None,
    max_search_fpr: float | None,
) -> Acceptance | None:
    """Turn what was asked for into distances.

    Args:
        calibration: What distances mean; None where that is not known.
        gallery_size: Items that are searched.
        max_distance: Items must be nearer than it.
        max_fpr: False match rate that answers must keep to, that of the two cameras where known.
        max_search_fpr: Share of the searches for strangers that may find somebody.

    Returns:
        The distances; None where nothing was asked for.

    Raises:
        GalleryError: Several limits, or one that is no number.
        CalibrationError: A rate without a calibration, or one that it cannot tell.
    """
    limits = dict(max_distance=max_distance, max_fpr=max_fpr, max_search_fpr=max_search_fpr)
    given = {name: value for name, value in limits.items() if value is not None}
    if not given:
        return None
    if len(given) > 1:
        raise GalleryError(f'{" and ".join(given)} contradict each other: give one of them')
    ((name, value),) = given.items()
    if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value):
        raise GalleryError(f'{name} must be a number, got {value!r:.80}')
    if max_distance is not None:
        return Acceptance(float(max_distance))
    if calibration is None:
        raise CalibrationError(
            f'{name} needs a calibration, and the gallery has none: fusionreid calibrate measures '
            'one on labeled photos; or give a distance (max_distance, --max-distance)'
        )
    if max_search_fpr is not None:
        return Acceptance(calibration.distance_at_search_rate(float(value), gallery_size))
    rate = float(value)
    return Acceptance(
        calibration.distance_at(rate),
        {cameras: calibration.distance_at(rate, cameras) for cameras in calibration.camera_pairs},
    )


def add_rates(
    found: GallerySearchResult, calibration: Calibration, query_cameras: np.ndarray
) -> GallerySearchResult:
    """Tell of each item how often strangers are as near.

    Args:
        found: Items found for Q queries.
        calibration: What distances mean.
        query_cameras: 0-based cameras of the queries (Q,), negative where unknown.

    Returns:
        The same items with rates.
    """
    shape = found.distances.shape
    table = np.full((*shape, 3), np.nan)
    filled = np.arange(shape[1]) < found.counts[:, None]
    pairs = np.stack([np.broadcast_to(query_cameras[:, None], shape), found.camera_ids], axis=-1)
    for pair in np.unique(pairs[filled], axis=0).tolist():
        cameras = (pair[0], pair[1])
        chosen = filled & (pairs == pair).all(axis=-1)
        rates = calibration.false_match_rate(found.distances[chosen], cameras)
        table[chosen] = np.stack(rates, axis=-1)
    return replace(found, false_match_rates=table[..., 0], rate_intervals=table[..., 1:])
