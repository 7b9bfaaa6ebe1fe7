"""Orders the nearest items again: by distances without the cameras' means, or normalized ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fusionreid.errors import GalleryError
from fusionreid.evaluation.functional import (
    CohortStatistics,
    camera_means,
    center_cameras,
    cohort_statistics,
    normalize_distances,
)
from fusionreid.evaluation.scoring_errors import scoring_errors
from fusionreid.utils.integers import as_integer

from .engines import SearchEngine
from .search_result import FILL, GallerySearchResult

DEFAULT_CANDIDATES = 200
# Queries whose candidates are compared at once.
QUERY_ROWS = 64


@dataclass(frozen=True)
class Rescoring:
    """How the nearest items are ordered again.

    Args:
        center_cameras: Subtract the mean feature of its camera's items in the gallery from each
            feature.
        cohort: Features of people who are not in the gallery (C, D), L2-normalized, for adaptive
            symmetric normalization; None for none.
        cohort_cameras: Their 0-based cameras, for ``center_cameras``; None for all unknown.
        cohort_size: Photos of the cohort that count for each; None takes 200, or all.
        candidates: Nearest items that are ordered again; as many as the gallery has for all.

    Raises:
        GalleryError: Nothing to do, or candidates that are no number from 1 on.
    """

    center_cameras: bool = False
    cohort: Tensor | None = None
    cohort_cameras: Sequence[int] | None = None
    cohort_size: int | None = None
    candidates: int = DEFAULT_CANDIDATES

    def __post_init__(self) -> None:
        if not self.center_cameras and self.cohort is None:
            raise GalleryError('rescoring needs center_cameras=True, a cohort, or both')
        if as_integer(self.candidates, 'candidates', GalleryError) < 1:
            raise GalleryError(f'candidates must be at least 1, got {self.candidates}')

    def order(
        self,
        found: GallerySearchResult,
        queries: Tensor,
        query_cameras: np.ndarray,
        engine: SearchEngine,
        k: int,
    ) -> GallerySearchResult:
        """Order what was found.

        Args:
            found: Candidates of Q queries.
            queries: Their features (Q, D), L2-normalized.
            query_cameras: 0-based cameras of the queries (Q,), negative where unknown.
            engine: What found the candidates, and has their features.
            k: Columns of the result.

        Returns:
            The k nearest of the candidates, with the new distances.

        Raises:
            GalleryError: The engine does not give features.
            ScoringError: A cohort that does not fit.
        """
        filled = np.arange(found.ids.shape[1]) < found.counts[:, None]
        names, first, place = np.unique(
            found.ids[filled].astype(str), return_index=True, return_inverse=True
        )
        columns = np.zeros(found.ids.shape, dtype=np.int64)
        columns[filled] = place
        distances = np.full(found.ids.shape, np.inf)
        if len(names):
            items = engine.features_of(names.tolist()).cpu()
            cameras = found.camera_ids[filled][first]
            with scoring_errors():
                new = self._distances(queries.cpu(), query_cameras, items, cameras, engine, columns)
            distances[filled] = new[filled]
        order = np.argsort(distances, axis=1, kind='stable')
        moved = {name: np.take_along_axis(getattr(found, name), order, axis=1) for name in FILL}
        distances = np.take_along_axis(distances, order, axis=1)
        moved['distances'] = distances.astype(np.float32)
        result = replace(found, **moved)
        result = result.keep(np.isfinite(distances), k)
        return replace(result, nearest=result.distances[:, 0])

    def _distances(
        self,
        queries: Tensor,
        query_cameras: np.ndarray,
        items: Tensor,
        item_cameras: np.ndarray,
        engine: SearchEngine,
        columns: np.ndarray,
    ) -> np.ndarray:
        """New distances (Q, K) between queries and items; ``columns`` (Q, K) are their rows."""
        cohort = None if self.cohort is None else self.cohort.float().cpu()
        if self.center_cameras:
            means = camera_means(_labeled_blocks(engine))
            queries = center_cameras(queries, query_cameras.tolist(), means)
            items = center_cameras(items, item_cameras.tolist(), means)
            if cohort is not None:
                given = self.cohort_cameras
                cameras = [-1] * len(cohort) if given is None else given
                cohort = center_cameras(cohort, cameras, means)
        of_queries = of_items = None
        if cohort is not None:
            of_queries = cohort_statistics(queries, cohort, self.cohort_size)
            of_items = cohort_statistics(items, cohort, self.cohort_size)
        parts = []
        for start in range(0, len(queries), QUERY_ROWS):
            rows = slice(start, start + QUERY_ROWS)
            own = torch.from_numpy(columns[rows])
            # Of unit vectors; differences would take the memory of all candidates' features.
            pairs = zip(own, queries[rows].double(), strict=True)
            products = torch.stack([items[row].double() @ query for row, query in pairs])
            squares = (2 - 2 * products).clamp_min_(0)
            if of_queries is None or of_items is None:
                parts.append(squares.sqrt_())
                continue
            parts.append(
                normalize_distances(
                    squares,
                    CohortStatistics(*(part[rows] for part in of_queries)),
                    CohortStatistics(*(part[own] for part in of_items)),
                )
            )
        return torch.cat(parts).numpy()


def _labeled_blocks(engine: SearchEngine) -> Iterator[tuple[Tensor, Tensor]]:
    """Features of the engine block by block, with the cameras of their items."""
    for items, features in engine.blocks():
        yield features.cpu(), torch.tensor(items.camera_ids, dtype=torch.int64)
