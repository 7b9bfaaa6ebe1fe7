"""Scores searches for people who may not be in the gallery: TPIR at FPIR, also called DIR at FAR.

A search answers with the entries that are nearer than a threshold, or with nobody. Of the searches
for somebody who is there, the true positive identification rate (TPIR, or detection and
identification rate, DIR) is the fraction that finds the person among the first k answers. Of the
searches for somebody who is not there, the false positive identification rate (FPIR, or false
alarm rate, FAR) is the fraction that finds anybody (Phillips et al., 2011; ISO/IEC 19795-1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .distance_blocks import check_no_nan, distance_blocks, own_copy
from .distances import TILE_BYTES, round_squares
from .errors import ScoringInputError
from .matches import MatchTable, match_table
from .memory import DEFAULT_MEMORY_LIMIT, plan_rows
from .progress import StartMeter, start_meter
from .ranking import rank_queries
from .rates import largest_count
from .top_k import top_k

# Which searches stand for people who are not in the gallery.
STRANGERS = LEFT_OUT, UNMATCHED = ('left_out', 'unmatched')
# Queries whose matches are looked up at once.
LOOKUP_ROWS = 256


@dataclass(frozen=True)
class OpenSetPoint:
    """What answering with entries nearer than a threshold leads to.

    Attributes:
        target_fpir: False positive identification rate that must not be exceeded.
        rank: Answers among which the person must be.
        threshold: Largest distance that keeps to the rate, that of the first stranger's search
            that may not be answered any more; infinite where all may. Entries *nearer* than it
            are answers.
        fpir: Fraction of the strangers' searches that are answered, at most ``target_fpir``.
        tpir: Fraction of the other searches that find the person.
    """

    target_fpir: float
    rank: int
    threshold: float
    fpir: float
    tpir: float


@dataclass(frozen=True)
class OpenSetResult:
    """What each search comes to, and rates at thresholds.

    Attributes:
        match_distances: Distance of the nearest match, (q,) float64; infinite without one.
        match_ranks: Its rank, (q,) int64, 1-based; 0 without one.
        other_distances: Distance of the nearest entry of another identity, (q,) float64; infinite
            without one.
        is_stranger: Which searches count for the FPIR, (q,) bool.
    """

    match_distances: Tensor
    match_ranks: Tensor
    other_distances: Tensor
    is_stranger: Tensor

    @classmethod
    def unmeasured(cls, count: int, device: torch.device) -> OpenSetResult:
        """Make the result of searches that another process makes, to which theirs is added.

        Args:
            count: Number of queries.
            device: Where it is kept.

        Returns:
            Zeros; every query counts for the FPIR.
        """
        zeros = torch.zeros(count, dtype=torch.float64, device=device)
        ranks = torch.zeros(count, dtype=torch.int64, device=device)
        return cls(zeros, ranks, zeros.clone(), torch.ones_like(ranks, dtype=torch.bool))

    @property
    def num_known(self) -> int:
        """Searches for somebody who is in the gallery."""
        return int((self.match_ranks > 0).sum())

    @property
    def num_strangers(self) -> int:
        """Searches for somebody who is not."""
        return int(self.is_stranger.sum())

    def fpir(self, threshold: float) -> float:
        """Tell how many strangers' searches are answered.

        Args:
            threshold: Entries nearer than it are answers.

        Returns:
            The fraction, in [0, 1].
        """
        return float((self.other_distances[self.is_stranger] < threshold).double().mean())

    def tpir(self, threshold: float, rank: int = 1) -> float:
        """Tell how many of the other searches find the person.

        Args:
            threshold: Entries nearer than it are answers.
            rank: Answers among which the person must be.

        Returns:
            The fraction, in [0, 1].
        """
        known = self.match_ranks > 0
        found = (self.match_distances < threshold) & (self.match_ranks <= rank)
        return float(found[known].double().mean())

    def at_fpir(self, fpir: float, rank: int = 1) -> OpenSetPoint:
        """Find the threshold of a false positive identification rate.

        Args:
            fpir: Rate that must not be exceeded, in [0, 1]; below ``1 / num_strangers`` no
                stranger's search is answered.
            rank: Answers among which the person must be.

        Returns:
            Threshold and rates.

        Raises:
            ScoringInputError: A rate or a rank out of range.
        """
        if not 0 <= fpir <= 1:
            raise ScoringInputError(
                f'a false positive identification rate must be in [0, 1], got {fpir}'
            )
        if rank < 1:
            raise ScoringInputError(f'a rank must be at least 1, got {rank}')
        nearest = self.other_distances[self.is_stranger].sort().values
        count = largest_count(fpir, len(nearest))
        threshold = float('inf') if count == len(nearest) else float(nearest[count])
        return OpenSetPoint(fpir, rank, threshold, self.fpir(threshold), self.tpir(threshold, rank))


@torch.no_grad()
def evaluate_open_set(
    query_features: Tensor,
    gallery_features: Tensor,
    query_ids: Tensor | Sequence[int],
    gallery_ids: Tensor | Sequence[int],
    query_cameras: Tensor | Sequence[int] | None = None,
    gallery_cameras: Tensor | Sequence[int] | None = None,
    *,
    strangers: str = LEFT_OUT,
    remove_same_camera: bool = True,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> OpenSetResult:
    """Search for people who may or may not be in the gallery, by Euclidean distance.

    Test sets of re-identification have (almost) no query of somebody who is not in the gallery. So
    each query makes two searches: one in the gallery, without the entries of its identity and
    camera, as in ranking, and one without all entries of its identity, which stands for a stranger.

    Args:
        query_features: Shape (q, d), float16, bfloat16, float32 or float64.
        gallery_features: Shape (g, d), same device.
        query_ids: (q,) integers.
        gallery_ids: (g,) integers; identities that no query shows are others, as in ranking.
        query_cameras: (q,) integers; negative is an unknown camera, which is never the same camera.
        gallery_cameras: (g,) integers.
        strangers: ``'left_out'`` as above, or ``'unmatched'``: only queries without a match count
            for the FPIR, for test sets that have people who are not in the gallery.
        remove_same_camera: Remove entries of the query's identity and camera.
        memory_limit: Bytes that may be used on top of the features; checked before work starts.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        What each search comes to, on the device of the features.

    Raises:
        TypeError: Features or labels of the wrong type.
        ScoringInputError: Features that are empty, of different width or not finite, labels of the
            wrong length, no query with a match, no stranger, or a memory limit that is too small.

    Example:
        >>> query, gallery = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.1], [1.9], [1.5]])
        >>> result = evaluate_open_set(query, gallery, [1, 2], [1, 2, 3], [0, 0], [1, 1, 1])
        >>> result.other_distances.tolist(), result.at_fpir(0).tpir
        ([0.5, 0.5], 1.0)
    """
    queries = rank_queries(
        query_features,
        gallery_features,
        query_ids,
        gallery_ids,
        query_cameras,
        gallery_cameras,
        max_rank=len(gallery_features),
        remove_same_camera=remove_same_camera,
        memory_limit=memory_limit,
        progress=progress,
    )
    table = match_table(
        query_ids,
        gallery_ids,
        query_cameras,
        gallery_cameras,
        (len(query_features), len(gallery_features)),
        query_features.device,
        remove_same_camera,
    )
    others = nearest_others(
        query_features,
        gallery_features,
        table.query_ids,
        table.gallery_ids,
        memory_limit=memory_limit,
        progress=progress,
    )
    matches = _nearest_matches(query_features, gallery_features, table)
    return _result(matches, queries.first_match_rank, others, strangers)


@torch.no_grad()
def nearest_others(
    query_features: Tensor,
    gallery_features: Tensor,
    query_ids: Tensor | Sequence[int],
    gallery_ids: Tensor | Sequence[int],
    *,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> Tensor:
    """Measure how far the nearest gallery entry of another identity is from each query.

    Args:
        query_features: Shape (q, d).
        gallery_features: Shape (g, d), same device.
        query_ids: (q,) integers.
        gallery_ids: (g,) integers.
        memory_limit: Bytes that may be used on top of the features.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        Distances (q,) float64, rounded as squares to 2^-40 of themselves; infinite where all
        entries are of the query's identity.

    Raises:
        TypeError: Features or labels of the wrong type.
        ScoringInputError: As for :func:`~fusionreid.evaluation.functional.top_k`.
    """
    device = query_features.device
    # To top_k, entries of one identity and camera are removed: all of one camera.
    found = top_k(
        query_features,
        gallery_features,
        1,
        query_ids=query_ids,
        gallery_ids=gallery_ids,
        query_cameras=torch.zeros(len(query_features), dtype=torch.int64, device=device),
        gallery_cameras=torch.zeros(len(gallery_features), dtype=torch.int64, device=device),
        memory_limit=memory_limit,
        progress=progress,
    ).indices.flatten()
    exists = (found >= 0).nonzero().flatten()
    distances = torch.full((len(found),), torch.inf, dtype=torch.float64, device=device)
    distances[exists] = _pair_distances(query_features, gallery_features, exists, found[exists])
    return distances


@torch.no_grad()
def evaluate_open_set_distances(
    distances: Tensor | Iterable[Tensor] | Any,
    query_ids: Tensor | Sequence[int],
    gallery_ids: Tensor | Sequence[int],
    query_cameras: Tensor | Sequence[int] | None = None,
    gallery_cameras: Tensor | Sequence[int] | None = None,
    *,
    strangers: str = LEFT_OUT,
    remove_same_camera: bool = True,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> OpenSetResult:
    """Score given distances as :func:`evaluate_open_set` does; smaller is nearer.

    Args:
        distances: A tensor or array-like of shape (q, g), or an iterator of row blocks (r, g), as
            for :func:`~fusionreid.evaluation.functional.evaluate_distances`.
        query_ids: (q,) integers.
        gallery_ids: (g,) integers.
        query_cameras: (q,) integers.
        gallery_cameras: (g,) integers.
        strangers: ``'left_out'`` or ``'unmatched'``.
        remove_same_camera: Remove entries of the query's identity and camera.
        memory_limit: Bytes that may be used on top of the distances.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        What each search comes to, on the CPU.

    Raises:
        TypeError: Distances or labels of the wrong type.
        ScoringInputError: Shapes that do not fit, a NaN, no query with a match, no stranger, or a
            memory limit that is too small.

    Example:
        >>> distances = torch.tensor([[0.1, 0.3, 0.2]])
        >>> result = evaluate_open_set_distances(
        ...     distances, [7], [3, 3, 7], remove_same_camera=False
        ... )
        >>> result.match_ranks.tolist(), result.at_fpir(1.0, rank=2).tpir
        ([2], 1.0)
    """
    num_query, num_gallery = len(query_ids), len(gallery_ids)
    blocks = distance_blocks(distances, num_query, num_gallery)
    table = match_table(
        query_ids,
        gallery_ids,
        query_cameras,
        gallery_cameras,
        (num_query, num_gallery),
        torch.device('cpu'),
        remove_same_camera,
    )
    group = plan_rows(
        memory_limit,
        fixed=num_gallery * 8 + num_query * 32,
        per_block_row=0,
        per_group_row=num_gallery * 40 + max(table.width, 1) * 64,
        what=f'searching {num_gallery} gallery entries',
    ).group
    matches = torch.full((num_query,), torch.inf, dtype=torch.float64)
    others, ranks = matches.clone(), torch.zeros(num_query, dtype=torch.int64)
    column = torch.arange(num_gallery)
    meter = start_meter(progress, 'searching', num_query)
    done = 0
    for block in blocks:
        for first in range(0, len(block), group):
            keys = own_copy(block[first : first + group]).cpu().double()
            rows = slice(done + first, done + first + len(keys))
            check_no_nan(keys, rows.start)
            same = table.lookup(rows)
            own = keys.gather(1, same.columns).masked_fill_(~same.match, torch.inf)
            # The first of equal ones; entries stand in gallery order.
            matches[rows], slot = own.min(1)
            place = same.columns.gather(1, slot[:, None])
            keys[table.query_ids[rows, None] == table.gallery_ids] = torch.inf
            others[rows] = keys.amin(1)
            nearest = matches[rows, None]
            ahead = (keys < nearest) | ((keys == nearest) & (column < place))
            ranks[rows] = torch.where(same.match.any(1), ahead.sum(1) + 1, 0)
        done += len(block)
        meter.update(done)
    return _result(matches, ranks, others, strangers)


def _result(matches: Tensor, ranks: Tensor, others: Tensor, strangers: str) -> OpenSetResult:
    if strangers not in STRANGERS:
        raise ScoringInputError(f"strangers must be 'left_out' or 'unmatched', got {strangers!r}")
    if not (ranks > 0).any():
        raise ScoringInputError(
            f'none of the {len(ranks)} queries has a match in the gallery: check that both use the '
            'same identity numbers, and that same-camera removal suits the data set'
        )
    is_stranger = torch.ones_like(ranks, dtype=torch.bool) if strangers == LEFT_OUT else ranks == 0
    if not is_stranger.any():
        raise ScoringInputError(
            'every query has a match in the gallery, so none is of a stranger: take '
            "strangers='left_out'"
        )
    return OpenSetResult(matches, ranks, others, is_stranger)


def _nearest_matches(query: Tensor, gallery: Tensor, table: MatchTable) -> Tensor:
    """Distance of the nearest match of each query, (q,) float64; infinite without one."""
    nearest = torch.full((len(query),), torch.inf, dtype=torch.float64, device=query.device)
    for start in range(0, len(query), LOOKUP_ROWS):
        same = table.lookup(slice(start, start + LOOKUP_ROWS))
        row, slot = same.match.nonzero(as_tuple=True)
        own = torch.full(same.match.shape, torch.inf, dtype=torch.float64, device=query.device)
        own[row, slot] = _pair_distances(query, gallery, row + start, same.columns[row, slot])
        nearest[start : start + len(own)] = own.amin(1)
    return nearest


def _pair_distances(query: Tensor, gallery: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Distances of single pairs of rows and columns (P,), float64; equal ones are equal numbers."""
    step = max(1, TILE_BYTES // (24 * query.shape[1]))
    squares = torch.empty(len(rows), dtype=torch.float64, device=query.device)
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        difference = gallery[columns[some]].double().sub_(query[rows[some]].double())
        exact = difference.square_().sum(1)
        squares[some] = round_squares(exact, exact.clone())
    return squares.sqrt_()
