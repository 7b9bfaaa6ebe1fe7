"""What a search returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np

from fusionreid.utils.integers import UNKNOWN

from .engines import Hits

NO_NAMES: Mapping[int, str] = MappingProxyType({})


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
        distances: Euclidean distances of L2-normalized features (Q, K) float32, from 0 to 2.
        counts: Items found for each query (Q,) int64.
        person_names: Names of their identities (Q, K), strings; ``''`` where it has a number.
        camera_names: Names of their cameras (Q, K), strings; ``''`` where it has a number.
    """

    ids: np.ndarray
    paths: np.ndarray
    person_ids: np.ndarray
    camera_ids: np.ndarray
    distances: np.ndarray
    counts: np.ndarray
    person_names: np.ndarray
    camera_names: np.ndarray

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

        return cls(
            ids=arrange(hits.items.ids, '', object),
            paths=arrange(hits.items.paths, '', object),
            person_ids=arrange(hits.items.person_ids, UNKNOWN, np.int64),
            camera_ids=arrange(hits.items.camera_ids, UNKNOWN, np.int64),
            distances=arrange(hits.distances, np.inf, np.float32),
            counts=hits.counts,
            person_names=arrange(
                [person_names.get(person, '') for person in hits.items.person_ids], '', object
            ),
            camera_names=arrange(
                [camera_names.get(camera, '') for camera in hits.items.camera_ids], '', object
            ),
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
        columns = ([getattr(part, column.name) for part in parts] for column in fields(cls))
        return cls(*(np.concatenate(column)[order] for column in columns))

    def __len__(self) -> int:
        return len(self.ids)
