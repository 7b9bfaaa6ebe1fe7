"""Re-ranks by k-reciprocal encoding (Zhong et al., CVPR 2017), exact and in bounded memory.

The original keeps three N x N matrices, for N points: queries and gallery together. But a point's
encoding is not zero at a few of its neighbors only; so the nearest neighbors of every point are
kept, and all that follows is sparse.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from ..distances import TILE_BYTES, FeatureKeys
from ..memory import CPU
from ..nearest_neighbors import Neighbors, PointSet, nearest_neighbors
from ..progress import StartMeter, start_meter
from ..workers import start_workers, worker_count
from .k_reciprocal import add_overlaps, average_rows, encode
from .parameters import (
    DEFAULT_K1,
    DEFAULT_K2,
    DEFAULT_LAMBDA_VALUE,
    DEFAULT_RERANKING_MEMORY_LIMIT,
    check_parameters,
)
from .plan import plan_reranking
from .sparse_rows import SparseRows

# Queries whose sums are made together: few, so that they stay in the cache of a core.
GROUP_QUERIES = 16


@torch.no_grad()
def k_reciprocal_rerank(
    query_features: Tensor,
    gallery_features: Tensor,
    *,
    k1: int = DEFAULT_K1,
    k2: int = DEFAULT_K2,
    lambda_value: float = DEFAULT_LAMBDA_VALUE,
    memory_limit: int = DEFAULT_RERANKING_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> Tensor:
    """Compute the k-reciprocal re-ranked distances of all queries to the gallery.

    The distance is ``(1 - lambda) * jaccard + lambda * d``: ``d`` the squared Euclidean distance
    divided by the largest one of the query to any query or gallery image, ``jaccard`` the Jaccard
    distance of the k-reciprocal encodings (equation 12 of Zhong et al., "Re-ranking Person
    Re-identification with k-reciprocal Encoding", CVPR 2017). Neighbors at the same distance
    stand in order, queries before gallery; a point is its own first neighbor.

    Args:
        query_features: Shape (q, d), float16, bfloat16, float32 or float64.
        gallery_features: Shape (g, d), same device.
        k1: Neighbors among which reciprocal ones are looked for, 1..q + g - 1.
        k2: Neighbors over which the encodings are averaged, the point itself included, 1..q + g; 1
            averages nothing.
        lambda_value: Weight of the original distance, 0..1.
        memory_limit: Bytes that may be used on top of the features and the result; checked before
            work starts.
        progress: Starts what shows how far each step is, such as the class
            :class:`fusionreid.utils.progress.Progress`; an estimate of time and memory is
            printed to stderr before.

    Returns:
        Distances in [0, 1], (q, g) float32 (float64 for float64 features), on the device of the
        features. For a matrix too large for memory take :func:`reranked_blocks`.

    Raises:
        TypeError: Not floating point tensors.
        ScoringInputError: A number out of its range, bad features, or a memory limit that is too
            small.

    Example:
        >>> query = torch.tensor([[1.0, 1.0]])
        >>> gallery = torch.tensor([[1.1, 1.0], [4.0, 1.0], [4.1, 1.0]])
        >>> k_reciprocal_rerank(query, gallery, k1=1, k2=1).argsort().tolist()
        [[0, 1, 2]]
    """
    job = _Job(query_features, gallery_features, k1, k2, lambda_value, memory_limit, progress)
    result = torch.empty(
        job.num_query, job.num_gallery, dtype=job.dtype, device=query_features.device
    )
    done = 0
    for block in job.blocks():
        result[done : done + len(block)] = block
        done += len(block)
    return result


@torch.no_grad()
def reranked_blocks(
    query_features: Tensor,
    gallery_features: Tensor,
    *,
    k1: int = DEFAULT_K1,
    k2: int = DEFAULT_K2,
    lambda_value: float = DEFAULT_LAMBDA_VALUE,
    memory_limit: int = DEFAULT_RERANKING_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> Iterator[Tensor]:
    """Compute the distances of :func:`k_reciprocal_rerank` a block of query rows at a time.

    :func:`evaluate_distances` scores them as they come.

    Args:
        query_features: Shape (q, d), float16, bfloat16, float32 or float64.
        gallery_features: Shape (g, d), same device.
        k1: Neighbors among which reciprocal ones are looked for, 1..q + g - 1.
        k2: Neighbors over which the encodings are averaged, the point itself included, 1..q + g; 1
            averages nothing.
        lambda_value: Weight of the original distance, 0..1.
        memory_limit: Bytes that may be used on top of the features, one block held by the caller
            included; checked before work starts.
        progress: Starts what shows how far each step is, such as the class
            :class:`fusionreid.utils.progress.Progress`; an estimate of time and memory is
            printed to stderr before.

    Returns:
        Iterator over distances of shape (rows, g), in the order of the queries; the rows sum up to
        q. The arguments are checked at once, the work starts with the first block.

    Raises:
        TypeError: Not floating point tensors.
        ScoringInputError: A number out of its range, bad features, or a memory limit that is too
            small.

    Example:
        >>> query = torch.tensor([[1.0, 1.0], [4.0, 1.0]])
        >>> gallery = torch.tensor([[1.1, 1.0], [4.1, 1.0], [9.0, 1.0]])
        >>> from fusionreid.evaluation.functional import evaluate_distances
        >>> blocks = reranked_blocks(query, gallery, k1=1, k2=1)
        >>> evaluate_distances(blocks, [1, 2], [1, 2, 3], remove_same_camera=False).mAP
        1.0
    """
    job = _Job(query_features, gallery_features, k1, k2, lambda_value, memory_limit, progress)
    return job.blocks()


class _Job:
    """One re-ranking: checked and planned when made, done by :meth:`blocks`."""

    def __init__(
        self,
        query: Tensor,
        gallery: Tensor,
        k1: int,
        k2: int,
        lambda_value: float,
        memory_limit: int,
        progress: StartMeter | None,
    ) -> None:
        checked = FeatureKeys(query, gallery)
        self.query, self.gallery, self.dtype = checked.query, checked.gallery, checked.dtype
        self.num_query, self.num_gallery = len(query), len(gallery)
        self.total, self.width = self.num_query + self.num_gallery, query.shape[1]
        check_parameters(k1, k2, lambda_value, self.total)
        self.k1, self.k2, self.lambda_value = k1, k2, lambda_value
        self.progress = progress
        self.largest = max(checked.largest, float(checked.query_norms.max()))
        self.plan = plan_reranking(
            self.num_query,
            self.num_gallery,
            self.width,
            self.dtype,
            query.device,
            k1,
            k2,
            memory_limit,
        )

    def blocks(self) -> Iterator[Tensor]:
        """The distances, a block of rows at a time."""
        with torch.no_grad():
            points = self._points()
            if self.progress:
                self._announce(points)
            vectors, lists, farthest = self._encodings(points)
        meter = start_meter(self.progress, 're-ranking queries', self.num_query)
        for start in range(0, self.num_query, self.plan.block):
            rows = slice(start, min(start + self.plan.block, self.num_query))
            yield self._block(points, vectors, lists, farthest, rows)
            meter.update(rows.stop)

    def _points(self) -> PointSet:
        features = self.query.new_empty(self.total, self.width, dtype=self.dtype)
        features[: self.num_query] = self.query
        features[self.num_query :] = self.gallery
        # Squares of very small or large features would leave the range of floating point numbers.
        # A power of two, so that nothing is rounded.
        _, exponent = math.frexp(self.largest)
        return PointSet(features.mul_(math.ldexp(1.0, min(-exponent, 126))))

    def _encodings(self, points: PointSet) -> tuple[SparseRows, SparseRows, Tensor]:
        """Encodings of the queries, those of the gallery by columns, and the largest distances."""
        neighbors = nearest_neighbors(
            points,
            max(self.k1 + 1, self.k2),
            tile=self.plan.tile,
            memory_limit=self.plan.search_bytes,
            progress=self.progress,
        )
        farthest = neighbors.farthest
        neighbors = Neighbors(
            neighbors.indices.to(CPU), neighbors.squares.to(CPU), farthest.to(CPU)
        )
        room, show = self.plan.max_entries, self.progress
        vectors = encode(points, neighbors, self.k1, max_entries=room, progress=show)
        query, gallery = neighbors.indices[:, : self.k2].split([self.num_query, self.num_gallery])
        means = average_rows(vectors, gallery, 'gallery', max_entries=room, progress=show)
        room -= len(means.values)
        lists = means.transpose(self.total)
        del means
        means = average_rows(vectors, query, 'queries', max_entries=room, progress=show)
        return means, lists, farthest

    @torch.no_grad()
    def _block(
        self,
        points: PointSet,
        vectors: SparseRows,
        lists: SparseRows,
        farthest: Tensor,
        rows: slice,
    ) -> Tensor:
        """Distances of the queries ``rows``, (R, g)."""
        overlap = torch.zeros(rows.stop - rows.start, self.num_gallery, dtype=self.dtype)

        def add(first: int) -> None:
            group = slice(first, min(first + GROUP_QUERIES, rows.stop))
            out = overlap[first - rows.start : group.stop - rows.start]
            add_overlaps(vectors, group, lists, out)

        with start_workers(worker_count(CPU)) as run:
            run(add, range(rows.start, rows.stop, GROUP_QUERIES))
        overlap = overlap.to(farthest.device)
        out = torch.empty_like(overlap)
        step = max(1, TILE_BYTES // (self.dtype.itemsize * self.width))
        left = points.tile(rows)
        own = points.squares[rows, None].to(self.dtype)
        with torch.autocast(out.device.type, enabled=False):
            for start in range(self.num_query, self.total, step):
                columns = slice(start, min(start + step, self.total))
                squares = points.squares[columns].to(self.dtype)
                part = left @ points.tile(columns).T
                part.mul_(-2).add_(squares).add_(own).clamp_min_(0)
                out[:, start - self.num_query : columns.stop - self.num_query] = part
        out.mul_(self.lambda_value / farthest[rows, None])
        # Each encoding sums to 1: the union has the weight 2 less that of the overlap.
        jaccard = overlap.div_(2 - overlap).neg_().add_(1)
        return out.add_(jaccard, alpha=1 - self.lambda_value)

    def _announce(self, points: PointSet) -> None:
        """Say how long it will take and how much memory, judging by one product."""
        side = min(self.plan.tile, self.total)
        tile = points.tile(slice(0, side))
        for _ in range(2):  # The first one warms up.
            start = time.perf_counter()
            float((tile @ tile.T)[0, 0])
            seconds = time.perf_counter() - start
        pairs = self.total**2 / 2 + self.num_query * self.num_gallery
        seconds *= 1.5 * pairs / side**2
        lists = min((self.k1 + 1) * self.k2, self.total) ** 2 / 2
        seconds += (self.num_query * lists * 8e-9 + self.total * 2e-5) / worker_count(CPU)
        print(
            f're-ranking {self.num_query} queries in a gallery of {self.num_gallery}: about '
            f'{seconds:.0f} s and {self.plan.bytes / 2**30:.2f} GiB on top of the features',
            file=sys.stderr,
        )
