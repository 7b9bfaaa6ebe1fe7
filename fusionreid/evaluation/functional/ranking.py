"""Scores rankings by mAP, CMC and mINP under the Market-1501 protocol, exact, in bounded memory.

Only the positions of a query's true matches enter mAP, CMC and mINP, and a position is a count:
how many entries of other identities lie before the match. So no row is ever sorted together with
its indices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .counting import count_around
from .distance_blocks import check_no_nan, distance_blocks, own_copy
from .distances import FeatureKeys, MatrixKeys, sample_bytes
from .matches import MatchTable, SameIdentity, match_table
from .memory import DEFAULT_MEMORY_LIMIT, RowPlan, plan_rows
from .progress import StartMeter, start_meter
from .ranking_result import QueryScores, RankingResult
from .shrinking import BlockBuffer, in_blocks
from .ties import expected_precision, expected_reciprocal_last
from .true_positions import true_positions
from .validation import check_max_rank, check_ties
from .workers import start_workers, worker_count

# A match whose place among near-equal distances moves its precision by less than this is not
# looked at more closely.
PRECISION_TOLERANCE = 1e-6
# Unsure matches of one query from which on sorting its row once is faster than counting for each.
SORT_FROM = 64


class _Counts(NamedTuple):
    """Entries of other identities before each entry of a query's identity, (S, W) float64 each.

    Attributes:
        nearer: Entries that are nearer.
        ahead: Entries at the same distance that stand before it in the gallery.
        tied: Entries at the same distance.
    """

    nearer: Tensor
    ahead: Tensor
    tied: Tensor


def evaluate_ranking(
    query_features: Tensor,
    gallery_features: Tensor,
    query_ids: Tensor | Sequence[int],
    gallery_ids: Tensor | Sequence[int],
    query_cameras: Tensor | Sequence[int] | None = None,
    gallery_cameras: Tensor | Sequence[int] | None = None,
    *,
    query_clothes: Tensor | Sequence[int] | None = None,
    gallery_clothes: Tensor | Sequence[int] | None = None,
    max_rank: int = 50,
    remove_same_camera: bool = True,
    ties: str = 'order',
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> RankingResult:
    """Rank the gallery for every query by Euclidean distance, and score the ranking.

    Gallery entries of the query's identity and camera are removed first, as in the Market-1501
    protocol (Zheng et al., ICCV 2015), and with clothes those of its identity and clothes. AP is
    the mean, over a query's matches, of the precision at the match; mINP is the mean of matches /
    rank of the last match (Ye et al., TPAMI 2021). Queries without a match count nowhere. Squared
    distances that agree to 2^-40 of their scale are the same; what share of the matches that
    concerns is in the result.

    Args:
        query_features: Shape (q, d), float16, bfloat16, float32 or float64.
        gallery_features: Shape (g, d), same device.
        query_ids: (q,) integers.
        gallery_ids: (g,) integers; identities that no query shows are distractors and stay.
        query_cameras: (q,) integers; negative is an unknown camera, which is never the same camera.
        gallery_cameras: (g,) integers.
        query_clothes: (q,) integers, to remove entries of the query's identity and clothes too, as
            the protocols of clothes change do; negative is unknown, which is never the same. None
            keeps them.
        gallery_clothes: (g,) integers; given together with ``query_clothes``.
        max_rank: Length of the CMC curve.
        remove_same_camera: Remove entries of the query's identity and camera.
        ties: What entries at the same distance come to: ``'order'`` takes them in gallery order,
            ``'expected'`` gives the mean score over all their orders.
        memory_limit: Bytes that may be used on top of the features; checked before work starts.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        The scores, averaged and for each query, on the device of the features.

    Raises:
        TypeError: Features or labels of the wrong type.
        ScoringInputError: Features that are empty, of different width or not finite, labels of the
            wrong length, no query with a match, or a memory limit that is too small.

    Example:
        >>> query = torch.tensor([[1.0, 0.0]])
        >>> gallery = torch.tensor([[0.0, 1.0], [0.9, 0.1], [0.7, 0.3]])
        >>> result = evaluate_ranking(query, gallery, [7], [3, 3, 7], [0], [1, 1, 1], max_rank=3)
        >>> result.mAP, result.cmc.tolist()
        (0.5, [0.0, 1.0, 1.0])
    """
    queries = rank_queries(
        query_features,
        gallery_features,
        query_ids,
        gallery_ids,
        query_cameras,
        gallery_cameras,
        query_clothes=query_clothes,
        gallery_clothes=gallery_clothes,
        max_rank=max_rank,
        remove_same_camera=remove_same_camera,
        ties=ties,
        memory_limit=memory_limit,
        progress=progress,
    )
    return RankingResult.from_queries(queries, max_rank)


@torch.no_grad()
def rank_queries(
    query_features: Tensor,
    gallery_features: Tensor,
    query_ids: Tensor | Sequence[int],
    gallery_ids: Tensor | Sequence[int],
    query_cameras: Tensor | Sequence[int] | None = None,
    gallery_cameras: Tensor | Sequence[int] | None = None,
    *,
    query_clothes: Tensor | Sequence[int] | None = None,
    gallery_clothes: Tensor | Sequence[int] | None = None,
    max_rank: int = 50,
    remove_same_camera: bool = True,
    ties: str = 'order',
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> QueryScores:
    """Measure what :func:`evaluate_ranking` averages, for some share of the queries.

    Args:
        query_features: Shape (q, d), float16, bfloat16, float32 or float64.
        gallery_features: Shape (g, d), same device.
        query_ids: (q,) integers.
        gallery_ids: (g,) integers; identities that no query shows are distractors and stay.
        query_cameras: (q,) integers; negative is an unknown camera, which is never the same camera.
        gallery_cameras: (g,) integers.
        query_clothes: (q,) integers, to remove entries of the query's identity and clothes too;
            negative is unknown, which is never the same. None keeps them.
        gallery_clothes: (g,) integers; given together with ``query_clothes``.
        max_rank: First matches beyond this rank need not be exact.
        remove_same_camera: Remove entries of the query's identity and camera.
        ties: What entries at the same distance come to: ``'order'`` takes them in gallery order,
            ``'expected'`` gives the mean score over all their orders.
        memory_limit: Bytes that may be used on top of the features; checked before work starts.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        What was measured for each query.

    Raises:
        TypeError: Features or labels of the wrong type.
        ScoringInputError: Features that are empty, of different width or not finite, labels of the
            wrong length, or a memory limit that is too small. A query without a match is no error.

    Example:
        >>> query, gallery = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.1], [1.2], [2.5]])
        >>> scores = rank_queries(query, gallery, [1, 2], [3, 1, 1], remove_same_camera=False)
        >>> scores.average_precision.round(decimals=3).tolist(), scores.first_match_rank.tolist()
        ([0.583, nan], [2, 0])
    """
    check_max_rank(max_rank)
    check_ties(ties)
    source = FeatureKeys(query_features, gallery_features)
    num_query, num_gallery, width = len(source.query), len(source.gallery), source.query.shape[1]
    table = match_table(
        query_ids,
        gallery_ids,
        query_cameras,
        gallery_cameras,
        (num_query, num_gallery),
        source.query.device,
        remove_same_camera,
        query_clothes,
        gallery_clothes,
    )
    size = source.half.element_size()
    plan = plan_rows(
        memory_limit,
        fixed=num_gallery * (size + 48)
        + num_query * 112
        + source.tile_bytes
        + sample_bytes(table.width),
        per_block_row=num_gallery * size + width * size,
        per_group_row=_group_bytes(num_gallery, table.width, size),
        what=f'ranking {num_gallery} gallery features of width {width}',
        workers=worker_count(source.query.device),
        device=source.query.device,
    )
    scorer = _Scorer(source, table, num_query, max_rank, plan.spare, ties)
    meter = start_meter(progress, 'ranking queries', num_query)
    buffer = BlockBuffer(source.query, num_gallery, source.dtype)
    autocast = torch.autocast(source.query.device.type, enabled=False)
    with start_workers(plan.workers) as run, autocast:

        def rank(rows: slice, plan: RowPlan) -> None:
            scorer.spare = plan.spare
            out = buffer.take(rows, plan.block)
            products = source.block(rows, out)
            picked = source.sample(rows)
            error = source.relative_error(rows, products, picked, table.entries(picked))

            def score(first: int) -> None:
                group = slice(first, min(first + plan.group, rows.stop))
                part = out[first - rows.start : group.stop - rows.start]
                scorer.score(group, source.finish(part), error)

            run(score, range(rows.start, rows.stop, plan.group))
            meter.update(rows.stop)

        in_blocks(num_query, plan, rank)
    return scorer.queries


@torch.no_grad()
def evaluate_distances(
    distances: Tensor | Iterable[Tensor] | Any,
    query_ids: Tensor | Sequence[int],
    gallery_ids: Tensor | Sequence[int],
    query_cameras: Tensor | Sequence[int] | None = None,
    gallery_cameras: Tensor | Sequence[int] | None = None,
    *,
    query_clothes: Tensor | Sequence[int] | None = None,
    gallery_clothes: Tensor | Sequence[int] | None = None,
    max_rank: int = 50,
    remove_same_camera: bool = True,
    ties: str = 'order',
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> RankingResult:
    """Score given distances as :func:`evaluate_ranking` does; smaller is nearer.

    Args:
        distances: A tensor or array-like (a NumPy memory map, say) of shape (q, g), or an
            iterator of row blocks (r, g) in the order of the queries. They are taken as they are;
            infinite ones may occur.
        query_ids: (q,) integers.
        gallery_ids: (g,) integers.
        query_cameras: (q,) integers.
        gallery_cameras: (g,) integers.
        query_clothes: (q,) integers, to remove entries of the query's identity and clothes too, as
            the protocols of clothes change do; negative is unknown, which is never the same. None
            keeps them.
        gallery_clothes: (g,) integers; given together with ``query_clothes``.
        max_rank: Length of the CMC curve.
        remove_same_camera: Remove entries of the query's identity and camera.
        ties: What entries at the same distance come to: ``'order'`` takes them in gallery order,
            ``'expected'`` gives the mean score over all their orders.
        memory_limit: Bytes that may be used on top of the distances (or of one block of the
            iterator).
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        The scores; on the CPU for arrays, else on the device of the distances.

    Raises:
        TypeError: Distances or labels of the wrong type.
        ScoringInputError: Shapes that do not fit the labels, a NaN, no query with a match, or a
            memory limit that is too small.

    Example:
        >>> distances = torch.tensor([[0.1, 0.3, 0.2]])
        >>> result = evaluate_distances(distances, [7], [3, 3, 7], remove_same_camera=False)
        >>> result.mAP, result.cmc[:2].tolist()
        (0.5, [0.0, 1.0])
    """
    num_query, num_gallery = len(query_ids), len(gallery_ids)
    check_max_rank(max_rank)
    check_ties(ties)
    blocks = distance_blocks(distances, num_query, num_gallery)
    head = next(blocks)
    sample = own_copy(head[:1])
    # From here on nothing but the loop holds a block while the next one is made.
    blocks = chain(iter([head]), blocks)
    del head
    table = match_table(
        query_ids,
        gallery_ids,
        query_cameras,
        gallery_cameras,
        (num_query, num_gallery),
        sample.device,
        remove_same_camera,
        query_clothes,
        gallery_clothes,
    )
    size = sample.element_size()
    plan = plan_rows(
        memory_limit,
        fixed=num_gallery * 48 + num_query * 112,
        per_block_row=0,
        per_group_row=num_gallery * size + _group_bytes(num_gallery, table.width, size),
        what=f'ranking {num_gallery} gallery entries',
        workers=worker_count(sample.device),
        device=sample.device,
    )
    scorer = _Scorer(MatrixKeys(sample.dtype), table, num_query, max_rank, plan.spare, ties)
    meter = start_meter(progress, 'ranking queries', num_query)
    done = 0
    with start_workers(plan.workers) as run:
        for block in blocks:
            plan = in_blocks(len(block), plan, partial(_score_block, run, scorer, block, done))
            done += len(block)
            del block
            meter.update(done)
    return RankingResult.from_queries(scorer.queries, max_rank)


def _score_block(
    run: Callable[[Callable[[int], None], Iterable[int]], None],
    scorer: _Scorer,
    block: Any,
    done: int,
    rows: slice,
    plan: RowPlan,
) -> None:
    """Score some rows of a block in groups; ``done`` queries are in earlier blocks."""
    scorer.spare = plan.spare
    work = partial(_score_rows, scorer, block, done, plan.group)
    run(work, range(rows.start, rows.stop, plan.group))


def _score_rows(scorer: _Scorer, block: Any, done: int, count: int, first: int) -> None:
    """Score ``count`` rows from ``first`` of a block on; ``done`` queries are in earlier blocks."""
    keys = own_copy(block[first : first + count])
    group = slice(done + first, done + first + len(keys))
    check_no_nan(keys, group.start)
    scorer.score(group, keys, 0.0)


class _Scorer:
    """Ranks groups of queries and keeps what was measured for each."""

    def __init__(
        self,
        source: FeatureKeys | MatrixKeys,
        table: MatchTable,
        num_query: int,
        max_rank: int,
        spare: int,
        ties: str,
    ) -> None:
        self.source, self.table = source, table
        self.max_rank, self.spare, self.ties = max_rank, spare, ties
        self.queries = QueryScores.unmeasured(num_query, table.query_ids.device)

    @torch.no_grad()  # In a worker, the caller's setting does not hold.
    def score(self, rows: slice, keys: Tensor, relative_error: float) -> None:
        """Score the queries ``rows`` from their ranking keys (S, g)."""
        same = self.table.lookup(rows)
        counts = self._count_others(rows, keys, same, relative_error)
        others = counts.nearer + counts.ahead
        others = torch.where(same.match, others, torch.inf).sort(dim=1).values
        hit = torch.arange(1, others.shape[1] + 1, device=others.device)
        position = others + hit
        count = same.match.sum(1)
        valid = count > 0
        rows_at = torch.arange(rows.start, rows.stop, device=others.device)[valid]
        position, count = position[valid], count[valid]
        last = position.gather(1, count[:, None] - 1).flatten()
        self.queries.num_matches[rows_at] = count
        self.queries.average_precision[rows_at] = (hit / position).sum(1) / count
        self.queries.inverse_negative_penalty[rows_at] = count / last
        self.queries.first_match_rank[rows_at] = position[:, 0].long()
        if counts.tied.any():
            self._score_ties(rows, same.match, counts)

    def _score_ties(self, rows: slice, match: Tensor, counts: _Counts) -> None:
        """Count the tied matches of the queries, and replace their scores by expected ones."""
        # Between the first and the last place of a tie, which tells ties apart and orders them.
        key = torch.where(match, counts.nearer + counts.tied / 2, torch.inf)
        key, order = key.sort(dim=1, stable=True)
        match = match.gather(1, order)
        nearer = counts.nearer.gather(1, order)
        tied = torch.where(match, counts.tied.gather(1, order), 0)
        hit = torch.arange(1, key.shape[1] + 1, device=key.device).expand_as(key)
        concerned = (tied > 0) & self._matters(hit, nearer, nearer + tied)
        self.queries.num_tied[rows] = concerned.sum(1)
        if self.ties == 'order':
            return
        hits = torch.searchsorted(key, key)
        matches = torch.searchsorted(key, key, right=True) - hits
        at = tied > 0
        precision = torch.where(match, hit / (nearer + hit), 0)
        precision[at] = expected_precision(
            nearer[at] + hits[at], hits[at].double(), matches[at].double(), tied[at]
        )
        concerned = at.any(1).nonzero().flatten()
        count = match.sum(1)[concerned]
        numbers = concerned + rows.start
        self.queries.average_precision[numbers] = precision[concerned].sum(1) / count

        end = concerned, count - 1
        self.queries.inverse_negative_penalty[numbers] = count * expected_reciprocal_last(
            nearer[end] + hits[end], matches[end].double(), tied[end], self.spare
        )
        at_first = at[:, 0].nonzero().flatten()
        first_tie = torch.stack([matches[at_first, 0], tied[at_first, 0].long()], dim=1)
        self.queries.first_tie[at_first + rows.start] = first_tie
        self.queries.first_match_rank[at_first + rows.start] = nearer[at_first, 0].long() + 1

    def _count_others(
        self,
        rows: slice,
        keys: Tensor,
        same: SameIdentity,
        relative_error: float,
    ) -> _Counts:
        """Count the entries of other identities before each entry of ``same``."""
        own = keys.gather(1, same.columns)
        width = self.source.tolerance(rows, own, relative_error)
        own = torch.where(same.exists, own, torch.inf)
        low, high = (own - width).to(keys.dtype), (own + width).to(keys.dtype)
        below, up_to = count_around(keys, low, high)
        own = own.sort(dim=1).values
        below -= torch.searchsorted(own, low)
        own_up_to = torch.searchsorted(own, high, right=True)
        up_to -= torch.minimum(own_up_to, same.exists.sum(1, keepdim=True))
        # Between these two counts lies the true one; they differ where others are about as near
        # as the match.
        unsure = same.match & (up_to > below)
        nearer = (below + up_to).double() / 2
        counts = _Counts(nearer, torch.zeros_like(nearer), torch.zeros_like(nearer))
        if isinstance(self.source, FeatureKeys):
            order = torch.where(same.match, below, torch.iinfo(below.dtype).max)
            hit = order.argsort(dim=1).argsort(dim=1) + 1
            unsure &= self._matters(hit, below, up_to)
        if unsure.any():
            self._settle(rows, keys, same, unsure, low, high, below, counts)
        return counts

    def _matters(self, hit: Tensor, below: Tensor, up_to: Tensor) -> Tensor:
        """Where the difference of two counts could be seen in the scores, (S, W).

        Args:
            hit: Number of the match among the query's, nearest first, from 1 on.
            below: Least number of entries of other identities before it.
            up_to: Largest number.

        Returns:
            (S, W).
        """
        spread = hit / (below + hit) - hit / (up_to + hit)
        return (spread > PRECISION_TOLERANCE) | ((hit == 1) & (below < self.max_rank))

    def _settle(
        self,
        rows: slice,
        keys: Tensor,
        same: SameIdentity,
        unsure: Tensor,
        low: Tensor,
        high: Tensor,
        below: Tensor,
        counts: _Counts,
    ) -> None:
        """Replace the unsure counts by exact ones, from distances in float64."""
        many = unsure.sum(1) > SORT_FROM
        if many.any():
            self._settle_by_sorting(rows, keys, same, many, counts)
            unsure = unsure & ~many[:, None]
            if not unsure.any():
                return
        at, slot = unsure.nonzero(as_tuple=True)
        close = _columns_between(keys, unsure, low, high)
        columns = torch.cat([close, same.columns[at, slot]]).unique()
        row_numbers = torch.arange(rows.start, rows.stop, device=keys.device)
        involved = unsure.any(1).nonzero().flatten()
        row_of = torch.zeros(len(keys), dtype=torch.int64, device=keys.device)
        row_of[involved] = torch.arange(len(involved), device=keys.device)
        precise = self.source.precise(row_numbers[involved], columns, keys[involved])
        ids = self.table.gallery_ids[columns]
        step = max(1, self.spare // (len(columns) * 48))
        for start in range(0, len(at), step):
            row, entry = at[start : start + step], slot[start : start + step]
            mine = same.columns[row, entry][:, None]
            values = precise[row_of[row]]
            value = values.gather(1, torch.searchsorted(columns, mine))
            seen = keys[row[:, None], columns]
            close = (seen >= low[row, entry, None]) & (seen <= high[row, entry, None])
            close &= ids != self.table.query_ids[row_numbers[row], None]
            nearer = ((values < value) & close).sum(1)
            tied = close.logical_and_(values == value)
            counts.nearer[row, entry] = (below[row, entry] + nearer).double()
            counts.tied[row, entry] = tied.sum(1).double()
            counts.ahead[row, entry] = tied.logical_and_(columns < mine).sum(1).double()

    def _settle_by_sorting(
        self, rows: slice, keys: Tensor, same: SameIdentity, many: Tensor, counts: _Counts
    ) -> None:
        """Replace all counts of the queries ``many`` (S,) by exact ones."""
        every = torch.arange(keys.shape[1], device=keys.device)
        step = max(1, self.spare // (len(every) * 64))
        for part in many.nonzero().flatten().split(step):
            number = part + rows.start
            values, order = self.source.precise(number, every, keys[part]).sort(dim=1, stable=True)
            is_other = self.table.gallery_ids[order] != self.table.query_ids[number, None]
            until = torch.nn.functional.pad(is_other.cumsum(1), (1, 0))
            place = torch.empty_like(order).scatter_(1, order, every.expand_as(order))
            place = place.gather(1, same.columns[part])
            value = values.gather(1, place)
            nearer = until.gather(1, torch.searchsorted(values, value))
            up_to = until.gather(1, torch.searchsorted(values, value, right=True))
            counts.nearer[part] = nearer.double()
            counts.tied[part] = (up_to - nearer).double()
            counts.ahead[part] = (until.gather(1, place) - nearer).double()


def _columns_between(keys: Tensor, unsure: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Columns whose key lies in one of its row's unsure bands; (P,) int64, may repeat."""
    count = int(unsure.sum(1).max())
    bands = unsure.to(torch.uint8).argsort(dim=1, descending=True)[:, :count]
    chosen = unsure.gather(1, bands)
    # One contiguous row per band: looked up by row number far faster than pairs of indices.
    low = torch.where(chosen, low.gather(1, bands), torch.inf).T.contiguous()
    high = torch.where(chosen, high.gather(1, bands), -torch.inf).T.contiguous()
    flat = true_positions(keys <= high.amax(0)[:, None])
    row, key = flat // keys.shape[1], keys.view(-1).index_select(0, flat)
    inside = torch.zeros_like(flat, dtype=torch.bool)
    for first, last in zip(low, high, strict=True):
        inside |= (key >= first.index_select(0, row)) & (key <= last.index_select(0, row))
    return flat[inside] % keys.shape[1]


def _group_bytes(num_gallery: int, width: int, size: int) -> int:
    # Per gallery entry: the copy that is sorted, a mask, and, if every entry is too close to
    # call, positions, rows, bands and float64 keys. Per entry of the query's identity: tables,
    # bands, counts and ties.
    return num_gallery * (size + 64) + max(width, 1) * 320
