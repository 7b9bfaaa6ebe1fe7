"""Encodes points by their k-reciprocal neighbors (Zhong et al., CVPR 2017), kept sparse.

Everything here runs on the CPU, a group of points per core at a time; only the distances of pairs
come from where the features are.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import torch
from torch import Tensor

from ..errors import MemoryLimitError
from ..memory import CPU
from ..nearest_neighbors import Neighbors, PointSet
from ..progress import StartMeter, start_meter
from ..workers import start_workers, worker_count
from .sparse_rows import SparseRows

# Points encoded at once by a core: enough to amortize the calls, few enough to stay in its cache.
GROUP_POINTS = 64
# Entries of inverted lists that are looked at together.
GROUP_ENTRIES = 1 << 18


def half_of(k1: int) -> int:
    """Halve ``k1`` as the published code does, rounded to even at .5.

    Args:
        k1: Neighbors among which reciprocal ones are looked for.

    Returns:
        Neighbors of a neighbor that are looked at.

    Example:
        >>> half_of(20), half_of(5), half_of(7)
        (10, 2, 4)
    """
    return round(k1 / 2)


def mutual_neighbors(indices: Tensor, k: int) -> Tensor:
    """Where a point is among the first k neighbors of its neighbor.

    Args:
        indices: (N, K) int64, with K >= k.
        k: Neighbors that count.

    Returns:
        (N, k), True where ``indices[n, a]`` has n among its first k neighbors.
    """
    near = indices[:, :k]
    mutual = torch.empty_like(near, dtype=torch.bool)

    def check(first: int) -> None:
        mine = near[first : first + GROUP_POINTS]
        own = torch.arange(first, first + len(mine))
        theirs = near.index_select(0, mine.flatten()).view(*mine.shape, -1)
        torch.any(theirs == own[:, None, None], dim=2, out=mutual[first : first + len(mine)])

    with start_workers(worker_count(CPU)) as run:
        run(check, range(0, len(near), GROUP_POINTS))
    return mutual


@torch.no_grad()
def encode(
    points: PointSet,
    neighbors: Neighbors,
    k1: int,
    *,
    max_entries: int,
    progress: StartMeter | None = None,
) -> SparseRows:
    """Encode every point by its k-reciprocal neighbors.

    The reciprocal neighbors R(p, k1) of p are extended by R(q, k1 / 2) of those q in it for which
    more than two thirds of R(q, k1 / 2) are in R(p, k1) already. V[p, g] is exp(-d(p, g)) for g in
    the extended set and 0 elsewhere, scaled to sum 1; d is the squared distance divided by the
    largest one of p.

    Args:
        points: The N points.
        neighbors: At least the first k1 + 1 of each point, on the CPU.
        k1: Neighbors besides the point itself.
        max_entries: Entries that memory has room for.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        V, (N, N).

    Raises:
        MemoryLimitError: More entries than ``max_entries``.
    """
    total = len(points)
    near, squares = neighbors.indices[:, : k1 + 1], neighbors.squares[:, : k1 + 1]
    # A list of its own, so that those of many points are gathered from little memory.
    near_half = near[:, : half_of(k1) + 1].contiguous()
    mutual = mutual_neighbors(near, near.shape[1])
    mutual_half = mutual_neighbors(near_half, near_half.shape[1])
    half_size = mutual_half.sum(1)
    device = points.features.device

    def encode_group(first: int) -> tuple[Tensor, Tensor, Tensor]:
        rows = slice(first, min(first + GROUP_POINTS, total))
        count = rows.stop - rows.start
        mine, flat_mine = near[rows], near[rows].flatten()
        base = torch.arange(0, count * total, total)
        chosen = torch.zeros(count * total, dtype=torch.bool)
        own = (mine + base[:, None])[mutual[rows]]
        chosen[own] = True
        shape = (*mine.shape, -1)
        theirs = near_half.index_select(0, flat_mine).view(shape) + base[:, None, None]
        valid = mutual_half.index_select(0, flat_mine).view(shape) & mutual[rows, :, None]
        common = (chosen[theirs] & valid).sum(2)
        similar = 3 * common > 2 * half_size[mine]
        extra = theirs[valid & similar[..., None]]
        extra = extra[~chosen[extra]].unique()

        at = torch.cat([own, extra])
        row, column = at // total, at % total
        far = points.pair_squares(
            (row[len(own) :] + rows.start).to(device), column[len(own) :].to(device)
        )
        distance = torch.cat([squares[rows][mutual[rows]], far.to(CPU)])
        weight = (-distance / neighbors.farthest[rows][row]).exp()
        weight /= weight.new_zeros(count).index_add_(0, row, weight)[row]
        order = row.argsort(stable=True)
        counts = torch.bincount(row, minlength=count)
        return counts, column[order].int(), weight[order]

    return _in_groups(encode_group, total, 'encoding', max_entries, progress)


@torch.no_grad()
def average_rows(
    vectors: SparseRows,
    members: Tensor,
    what: str,
    *,
    max_entries: int,
    progress: StartMeter | None = None,
) -> SparseRows:
    """Replace rows by means of rows: the local query expansion.

    Args:
        vectors: (N, N).
        members: The k2 rows to average for each row of the result, (R, k2).
        what: The rows in words, for the line of progress.
        max_entries: Entries that memory has room for.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        (R, N).

    Raises:
        MemoryLimitError: More entries than ``max_entries``.
    """
    width, k2 = len(vectors), members.shape[1]

    def average(first: int) -> tuple[Tensor, Tensor, Tensor]:
        group = members[first : first + GROUP_POINTS]
        owner, at = vectors.entries(group.flatten())
        place = owner // k2 * width + vectors.columns.index_select(0, at)
        place, slot = place.unique(return_inverse=True)
        values = vectors.values.new_zeros(len(place))
        values.index_add_(0, slot, vectors.values.index_select(0, at)).div_(k2)
        counts = torch.bincount(place // width, minlength=len(group))
        return counts, (place % width).int(), values

    return _in_groups(average, len(members), f'expanding {what}', max_entries, progress)


def add_overlaps(vectors: SparseRows, rows: slice, lists: SparseRows, out: Tensor) -> None:
    """Add to ``out[r, g]`` the sum over c of min(vectors[r, c], lists[c, g]).

    Args:
        vectors: (R, N).
        rows: The rows that are wanted, S of them.
        lists: (N, G): for each column the rows that have an entry there, an inverted index.
        out: (S, G), contiguous, on the CPU.
    """
    entries = slice(int(vectors.start[rows.start]), int(vectors.start[rows.stop]))
    columns, values = vectors.columns[entries].long(), vectors.values[entries]
    base = torch.repeat_interleave(torch.arange(0, out.numel(), out.shape[1]), vectors.counts[rows])
    # Cut between lists, so that each part has about the same number of their entries.
    size = lists.start.index_select(0, columns + 1) - lists.start.index_select(0, columns)
    _, parts = (size.cumsum(0) // GROUP_ENTRIES).unique_consecutive(return_counts=True)
    for part in torch.arange(len(columns)).split(parts.tolist()):
        owner, at = lists.entries(columns[part])
        least = torch.minimum(lists.values.index_select(0, at), values[part].index_select(0, owner))
        place = base[part].index_select(0, owner) + lists.columns.index_select(0, at)
        out.view(-1).scatter_add_(0, place, least)


def _in_groups(
    work: Callable[[int], tuple[Tensor, Tensor, Tensor]],
    total: int,
    label: str,
    max_entries: int,
    progress: StartMeter | None,
) -> SparseRows:
    """Join what ``work`` gives for each group of rows, several at a time."""
    starts = range(0, total, GROUP_POINTS)
    parts: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
    meter = start_meter(progress, label, total)
    lock, entries = Lock(), 0

    @torch.no_grad()
    def run_one(first: int) -> None:
        nonlocal entries
        if entries > max_entries:
            return  # Another group has found out.
        part = work(first)
        with lock:
            entries += len(part[1])
            if entries > max_entries:
                done = min(total, len(parts) * GROUP_POINTS)
                raise MemoryLimitError(
                    f'memory_limit leaves room for {max_entries} entries of sparse vectors, but '
                    f'about {done} of {total} points have more: raise memory_limit'
                )
            parts[first] = part
            meter.update(min(total, len(parts) * GROUP_POINTS))

    with start_workers(worker_count(CPU)) as run:
        run(run_one, starts)
    return SparseRows.join([parts[first] for first in starts])
