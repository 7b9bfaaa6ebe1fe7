"""What a search returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from fusionreid.utils.integers import UNKNOWN

from .engines import Hits
from .metadata import NOTHING

NO_NAMES: Mapping[int, str] = MappingProxyType({})
# What stands where there is no item.
FILL = dict(
    ids='',
    paths='',
    person_ids=UNKNOWN,
    camera_ids=UNKNOWN,
    metadata=NOTHING,
    distances=np.float32(np.inf),
    person_names='',
    camera_names='',
)
# What a search finds; rates come later.
FOUND = (*FILL, 'counts', 'nearest')


@dataclass(frozen=True)
class GallerySearchResult:
    """The items found for Q queries, K columns wide, nearest first.

    Where a filter left fewer than K items, the rest of a row is filled up: ids and paths with
    ``''``, identities and cameras with -1, distances with infinity.

    Attributes:
        ids: Items (Q, K), strings.
        paths: Their image files (Q, K), strings; ``''`` for an item without one.
        person_ids: Their identities (Q, K) int64, -1 where unknown.
        camera_ids: Their 0-based cameras (Q, K) int64, -1 where unknown.
        metadata: What else is known about them (Q, K), dicts.
        distances: Euclidean distances of L2-normalized features (Q, K) float32, from 0 to 2.
        counts: Items found for each query (Q,) int64.
        person_names: Names of their identities (Q, K), strings; ``''`` where it has a number.
        camera_names: Names of their cameras (Q, K), strings; ``''`` where it has a number.
        nearest: Distance of the nearest item that passes the filters (Q,) float32, whether it is
            near enough or not; infinite where none passes.
        false_match_rates: How often photos of two different people are as near as query and item
            (Q, K) float64, NaN where there is no item; None without a calibration.
        rate_intervals: Lower and upper ends of the 95% confidence intervals of these rates
            (Q, K, 2) float64; None without a calibration.
    """

    ids: np.ndarray
    paths: np.ndarray
    person_ids: np.ndarray
    camera_ids: np.ndarray
    metadata: np.ndarray
    distances: np.ndarray
    counts: np.ndarray
    person_names: np.ndarray
    camera_names: np.ndarray
    nearest: np.ndarray
    false_match_rates: np.ndarray | None = None
    rate_intervals: np.ndarray | None = None

    @property
    def nobody(self) -> np.ndarray:
        """Whether items pass the filters of a query, but none is near enough (Q,) bool."""
        return (self.counts == 0) & np.isfinite(self.nearest)

    def rates_of(self, row: int) -> list[tuple[float, float, float]]:
        """False match rates of the items of a query.

        Args:
            row: The query.

        Returns:
            Rate, lower and upper end of each item; empty without a calibration.
        """
        if self.false_match_rates is None or self.rate_intervals is None:
            return []
        table = np.concatenate([self.false_match_rates[..., None], self.rate_intervals], axis=-1)
        return [tuple(rates) for rates in table[row, : self.counts[row]].tolist()]

    @classmethod
    def from_hits(
        cls,
        hits: Hits,
        k: int,
        person_names: Mapping[int, str] = NO_NAMES,
        camera_names: Mapping[int, str] = NO_NAMES,
    ) -> GallerySearchResult:
        """Arrange what an engine found in K columns.

        Args:
            hits: Items found for Q queries, at most K for each.
            k: Number of columns K.
            person_names: Names of identities by number.
            camera_names: Names of cameras by number.

        Returns:
            The result, filled up where a query has fewer than K items.
        """
        filled = np.arange(k) < hits.counts[:, None]

        def arrange(values: Any, fill: object, dtype: type) -> np.ndarray:
            column: np.ndarray = np.full(filled.shape, fill, dtype=dtype)
            column[filled] = np.array(values, dtype=dtype)
            return column

        distances = arrange(hits.distances, np.inf, np.float32)
        return cls(
            ids=arrange(hits.items.ids, '', object),
            paths=arrange(hits.items.paths, '', object),
            person_ids=arrange(hits.items.person_ids, UNKNOWN, np.int64),
            camera_ids=arrange(hits.items.camera_ids, UNKNOWN, np.int64),
            metadata=arrange(hits.items.metadata, NOTHING, object),
            distances=distances,
            counts=hits.counts,
            person_names=arrange(
                [person_names.get(person, '') for person in hits.items.person_ids], '', object
            ),
            camera_names=arrange(
                [camera_names.get(camera, '') for camera in hits.items.camera_ids], '', object
            ),
            nearest=distances[:, 0],
        )

    @classmethod
    def join(
        cls, parts: Sequence[GallerySearchResult], positions: Sequence[Sequence[int]]
    ) -> GallerySearchResult:
        """Put the results of several searches together.

        Args:
            parts: The results, K columns wide each.
            positions: For each of them the places of its queries in the whole, 0 to Q - 1.

        Returns:
            The results of all Q queries, in the order of their places.
        """
        order = np.argsort(np.concatenate(positions))
        return cls(
            **{
                name: np.concatenate([getattr(part, name) for part in parts])[order]
                for name in FOUND
            }
        )

    def keep(self, mask: np.ndarray, k: int) -> GallerySearchResult:
        """Leave only some of the items, before rates are told.

        Args:
            mask: Which items stay (Q, K).
            k: Columns of the result.

        Returns:
            The first k of them for each query, in their order, filled up where there are fewer.
        """
        mask = mask & (np.arange(mask.shape[1]) < self.counts[:, None])
        order = np.argsort(~mask, axis=1, kind='stable')[:, :k]
        kept = np.take_along_axis(mask, order, axis=1)
        columns = {
            name: np.where(kept, np.take_along_axis(getattr(self, name), order, axis=1), fill)
            for name, fill in FILL.items()
        }
        return replace(self, **columns, counts=kept.sum(axis=1))

    def put(self, rows: np.ndarray, part: GallerySearchResult) -> GallerySearchResult:
        """Replace the items of some queries.

        Args:
            rows: Which queries (Q,) bool.
            part: Their items, as many columns wide.

        Returns:
            The items of all queries.
        """
        columns = {name: getattr(self, name).copy() for name in FOUND}
        for name, column in columns.items():
            column[rows] = getattr(part, name)
        return replace(self, **columns)

    def __len__(self) -> int:
        return len(self.ids)
