"""Finds the nearest neighbors of every point of a set within the set, for re-ranking.

Distances are symmetric, so a tile of them serves the points of its rows and of its columns, and
the matrix product costs half of that of a search. The result is exact, in bounded memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .distances import ERROR_MARGIN, TIE_RESOLUTION, TILE_BYTES, FeatureKeys
from .progress import StartMeter, start_meter
from .top_k import top_k
from .true_positions import true_positions
from .workers import start_workers, worker_count

# Candidates kept beyond the k wanted, so that rounding seldom leaves it open who is among the k.
SPARE_CANDIDATES = 8
# Points whose candidates are looked at together in float64.
REFINE_ROWS = 16
# Rows for which a search of the whole set is made at once, where rounding did leave it open.
RESEARCH_ROWS = 1024


@dataclass(frozen=True)
class Neighbors:
    """The nearest points of each of N points.

    Attributes:
        indices: (N, k) int64, nearest first. A point is its own first neighbor; others at the same
            distance stand in the order of their indices.
        squares: Their squared Euclidean distances, (N, k), in the precision of the set.
        farthest: Squared distance to the point that is farthest away, (N,), above 0.
    """

    indices: Tensor
    squares: Tensor
    farthest: Tensor


class PointSet:
    """Features as points around their middle, where float32 loses the fewest digits.

    Args:
        features: (N, d), float32 or float64.

    Raises:
        ScoringInputError: Features that are not finite or too large to be squared.
    """

    def __init__(self, features: Tensor) -> None:
        self.keys = FeatureKeys(features, features)
        self.features = self.keys.gallery
        # It is made of values of the features, so nothing is lost here.
        self.center = self.keys.center.to(self.features.dtype)
        parts = features.split(max(1, TILE_BYTES // (8 * features.shape[1])))
        #: Squared norms about the middle, (N,) float64.
        self.squares = torch.cat(
            [(part.double() - self.keys.center).square_().sum(1) for part in parts]
        )

    def __len__(self) -> int:
        return len(self.features)

    def tile(self, rows: slice) -> Tensor:
        """Take some points relative to the middle.

        Args:
            rows: The R points.

        Returns:
            (R, d).
        """
        return self.features[rows] - self.center

    def pair_squares(self, first: Tensor, second: Tensor) -> Tensor:
        """Compute the squared distances of pairs of points.

        Args:
            first: Index of one point of each pair, (P,).
            second: Index of the other, (P,).

        Returns:
            (P,), in the precision of the set.
        """
        out = self.features.new_empty(len(first))
        step = max(1, TILE_BYTES // (3 * self.features.element_size() * self.features.shape[1]))
        for start in range(0, len(first), step):
            part = slice(start, start + step)
            difference = self.features.index_select(0, first[part])
            difference -= self.features.index_select(0, second[part])
            torch.sum(difference.square_(), dim=1, out=out[part])
        return out


def neighbor_bytes(num_points: int, k: int, size: int) -> int:
    """Estimate the memory of the tables that :func:`nearest_neighbors` keeps and returns.

    Args:
        num_points: Points of the set.
        k: Neighbors wanted.
        size: Bytes of a number.

    Returns:
        Bytes.
    """
    return num_points * ((k + SPARE_CANDIDATES) * (size + 8) + k * (size + 8) + 64)


def tile_bytes(tile: int, k: int, width: int, size: int) -> int:
    """Estimate the memory for working on tiles of distances.

    Args:
        tile: Points on each side of a tile.
        k: Neighbors wanted.
        width: Width of the features.
        size: Bytes of a number.

    Returns:
        Bytes.
    """
    # Products and scores, the mask, and the table into which what passes is sorted.
    square = tile * tile * (2 * size + 2)
    return square + tile * (k + SPARE_CANDIDATES) * 30 * (size + 8) + 3 * tile * width * size


@torch.no_grad()
def nearest_neighbors(
    points: PointSet, k: int, *, tile: int, memory_limit: int, progress: StartMeter | None = None
) -> Neighbors:
    """Find the k nearest points of every point, itself included.

    Args:
        points: The set.
        k: Neighbors wanted, 1..N.
        tile: Points on each side of a tile of distances.
        memory_limit: Bytes for searching again where float32 leaves the neighbors open.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        Indices and squared distances; they do not depend on ``tile``.

    Raises:
        ScoringInputError: A memory limit that is too small.
    """
    count = min(k + SPARE_CANDIDATES, len(points))
    with torch.autocast(points.features.device.type, enabled=False):
        nominated = _Candidates(points, count)
        nominated.collect(tile, progress)
        indices, squares, certain = _refine(points, nominated, k)
        open_rows = (~certain).nonzero().flatten()
        for first in range(0, len(open_rows), RESEARCH_ROWS):
            rows = open_rows[first : first + RESEARCH_ROWS]
            found = top_k(
                points.features[rows], points.features, k, memory_limit=memory_limit
            ).indices
            found = _own_first(found, rows)
            indices[rows] = found
            pairs = rows[:, None].expand_as(found).flatten(), found.flatten()
            squares[rows] = points.pair_squares(*pairs).view_as(found)
    farthest = points.squares + 2 * nominated.farthest.double()
    tiny = torch.finfo(squares.dtype).tiny
    return Neighbors(indices, squares, farthest.to(squares.dtype).clamp_min(tiny))


class _Candidates:
    """For each point the ``count`` points of smallest key ``|y|^2 / 2 - x.y`` seen so far.

    Attributes:
        keys: (N, count) in working precision, ascending; the point's own is -inf.
        indices: (N, count) int64.
        farthest: The largest key, (N,).
    """

    def __init__(self, points: PointSet, count: int) -> None:
        self.points, self.count = points, count
        self.half = (points.squares / 2).to(points.features.dtype)
        self.keys = self.half.new_full((len(points), count), torch.inf)
        self.indices = torch.zeros_like(self.keys, dtype=torch.int64)
        self.farthest = self.half.new_full((len(points),), -torch.inf)

    def collect(self, tile: int, progress: StartMeter | None) -> None:
        """Look at every pair of points once."""
        points, total = self.points, len(self.points)
        blocks = [slice(s, min(s + tile, total)) for s in range(0, total, tile)]
        products, scores = self.half.new_empty(2, min(tile, total) ** 2)
        meter = start_meter(progress, 'finding neighbors, pairs', total * (total + 1) // 2)
        done = 0
        for number, rows in enumerate(blocks):
            left = points.tile(rows)
            for columns in blocks[number:]:
                right = left if columns is rows else points.tile(columns)
                shape = len(left), len(right)
                product = products[: shape[0] * shape[1]].view(shape)
                score = scores[: shape[0] * shape[1]].view(shape)
                torch.mm(left, right.T, out=product)
                torch.sub(self.half[columns], product, out=score)
                if columns is rows:
                    score.fill_diagonal_(-torch.inf)
                    done += shape[0] * (shape[0] + 1) // 2
                else:
                    torch.sub(self.half[rows, None], product, out=product)
                    self._offer(columns, rows.start, product, dim=0)
                    done += shape[0] * shape[1]
                self._offer(rows, columns.start, score, dim=1)
                meter.update(done)

    def _offer(self, owners: slice, first: int, scores: Tensor, dim: int) -> None:
        """Take in keys of the points from ``first`` on.

        Args:
            owners: The points whose candidates they may become.
            first: Index of the first of the points offered.
            scores: Keys, (owners, offered) for ``dim`` 1, transposed for ``dim`` 0.
            dim: Along which the offered points lie.
        """
        farthest = self.farthest[owners]
        torch.maximum(farthest, scores.amax(dim), out=farthest)
        worst = self.keys[owners, -1]
        at = true_positions(scores < worst.unsqueeze(dim))
        if len(at) > 4 * self.count * len(worst):
            values, place = scores.topk(min(self.count, scores.shape[dim]), dim, largest=False)
            if dim == 0:
                values, place = values.T, place.T
            self._keep(
                torch.arange(owners.start, owners.stop, device=at.device), values, place, first
            )
        elif len(at):
            value = scores.view(-1).index_select(0, at)
            owner, place = at // scores.shape[1], at % scores.shape[1]
            if dim == 0:
                place, (owner, order) = owner, place.sort(stable=True)
                place, value = place[order], value[order]
            each = torch.bincount(owner, minlength=len(worst))
            rows = each.nonzero().flatten()
            row_of = torch.zeros_like(each).index_copy_(
                0, rows, torch.arange(len(rows), device=at.device)
            )
            slot = torch.arange(len(at), device=at.device) - (each.cumsum(0) - each)[owner]
            values = value.new_full((len(rows), int(each.max())), torch.inf)
            places = torch.zeros_like(values, dtype=torch.int64)
            values[row_of[owner], slot] = value
            places[row_of[owner], slot] = place
            self._keep(rows + owners.start, values, places, first)

    def _keep(self, rows: Tensor, values: Tensor, places: Tensor, first: int) -> None:
        """Keep the best of what the points ``rows`` (R,) have and what is new (R, W)."""
        values = torch.cat([self.keys.index_select(0, rows), values], dim=1)
        places = torch.cat([self.indices.index_select(0, rows), places + first], dim=1)
        self.keys[rows], order = values.topk(self.count, dim=1, largest=False)
        self.indices[rows] = places.gather(1, order)


def _refine(points: PointSet, nominated: _Candidates, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Order candidates by their distances in float64.

    Returns:
        Indices and squared distances of the k nearest, (N, k) each, and whether it is certain
        that nobody else is nearer, (N,).
    """
    total, source = len(points), points.keys
    keys, norms = nominated.keys, points.squares.sqrt()
    indices = torch.empty(total, k, dtype=torch.int64, device=keys.device)
    squares = torch.empty(total, k, dtype=keys.dtype, device=keys.device)
    errors = torch.zeros(total, dtype=torch.float64, device=keys.device)
    tiny = torch.finfo(keys.dtype).tiny

    @torch.no_grad()
    def refine(first: int) -> None:
        rows = slice(first, min(first + REFINE_ROWS, total))
        numbers = torch.arange(rows.start, rows.stop, device=keys.device)
        near, order = nominated.indices[rows].sort(dim=1)
        columns, place = near.unique(return_inverse=True)
        exact = source.precise(numbers, columns, keys[rows]).gather(1, place)
        own = near == numbers[:, None]
        error = keys[rows].gather(1, order) - (exact - points.squares[rows, None]) / 2
        error = error.abs() - TIE_RESOLUTION * (norms[rows, None] + exact.sqrt()).square()
        scale = norms[near] * (norms[rows, None] + norms[near] / 2)
        error = error.clamp_min(0) / scale.clamp_min(tiny)
        errors[rows] = torch.where(own, 0, error).amax(1)
        exact, order = exact.masked_fill_(own, -1).sort(dim=1, stable=True)
        indices[rows] = near.gather(1, order)[:, :k]
        squares[rows] = exact[:, :k].clamp_min(0).to(squares.dtype)

    with start_workers(worker_count(keys.device)) as run:
        run(refine, range(0, total, REFINE_ROWS))
    if keys.shape[1] == total:
        return indices, squares, torch.ones_like(errors, dtype=torch.bool)
    # Whoever is nearer than the k-th has a norm of at most |x| plus that distance.
    last = squares[:, -1].double()
    reach = norms + last.sqrt()
    error = max(ERROR_MARGIN * float(errors.max()), 2 * torch.finfo(keys.dtype).eps)
    width = error * reach * (norms + reach / 2) + TIE_RESOLUTION * reach.square()
    certain = keys[:, -1].double() - width > (last - points.squares) / 2
    return indices, squares, certain


def _own_first(indices: Tensor, rows: Tensor) -> Tensor:
    """Put each of the points ``rows`` (R,) before its neighbors (R, k), dropping the last."""
    own = indices == rows[:, None]
    own[:, -1] |= ~own.any(1)
    indices = torch.where(own, rows[:, None], indices)
    return indices.gather(1, own.to(torch.uint8).argsort(dim=1, descending=True, stable=True))
