"""Makes distances of different queries comparable: adaptive symmetric normalization (AS-norm).

One threshold has to serve all queries. A plain person is near to everybody, a striking one to
nobody. So a distance is compared with those that query and gallery entry have to a *cohort*: photos
of other people, of whom none is in the gallery. Of them only the nearest count (Sturim and
Reynolds, 2005; Cumani et al., 2011; Matejka et al., 2017).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .distances import FeatureKeys
from .errors import ScoringInputError
from .memory import DEFAULT_MEMORY_LIMIT, plan_rows
from .progress import StartMeter, start_meter
from .top_k import top_k

# Photos of the cohort that count, unless told otherwise.
DEFAULT_COHORT_SIZE = 200
# A deviation is at least this share of the mean: a cohort of copies has none.
LEAST_DEVIATION = 1e-3


class CohortStatistics(NamedTuple):
    """What the squared distances of n photos to their nearest of a cohort are like.

    Attributes:
        mean: (n,) float64.
        deviation: Standard deviation, (n,) float64, above 0.
    """

    mean: Tensor
    deviation: Tensor


@torch.no_grad()
def cohort_statistics(
    features: Tensor,
    cohort: Tensor,
    size: int | None = None,
    *,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> CohortStatistics:
    """Measure the distances of photos to the nearest of a cohort.

    Args:
        features: Shape (n, d).
        cohort: Features of other people, (c, d), same device.
        size: Photos of the cohort that count for each; None takes 200, or all if there are fewer.
        memory_limit: Bytes that may be used on top of the features and the ``n x size`` distances.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        Mean and deviation for each photo.

    Raises:
        TypeError: Features of the wrong type.
        ScoringInputError: A cohort of fewer than 2 photos, a size outside 2..c, features that do
            not fit, or a memory limit that is too small.

    Example:
        >>> cohort = torch.tensor([[1.0], [4.0], [9.0]])
        >>> cohort_statistics(torch.tensor([[2.0]]), cohort, size=2).mean.tolist()
        [2.5]
    """
    if len(cohort) < 2:
        raise ScoringInputError(f'a cohort needs at least 2 photos, got {len(cohort)}')
    if size is None:
        size = min(DEFAULT_COHORT_SIZE, len(cohort))
    if not 2 <= size <= len(cohort):
        raise ScoringInputError(
            f'a cohort size of {size} is outside 2..{len(cohort)}, the photos of the cohort'
        )
    found = top_k(features, cohort, size, memory_limit=memory_limit, progress=progress)
    squares = found.distances.double().square_()
    mean = squares.mean(1)
    tiny = torch.finfo(torch.float64).tiny
    least = (LEAST_DEVIATION * mean).clamp_min(tiny)
    return CohortStatistics(mean, torch.maximum(squares.std(1, correction=0), least))


def normalize_distances(
    squares: Tensor, query: CohortStatistics, gallery: CohortStatistics
) -> Tensor:
    """Compare squared distances with those to the cohort.

    For L2-normalized features this is the AS-norm of the cosine, with the opposite sign.

    Args:
        squares: Squared distances, (r, c) float64.
        query: Statistics of the r rows.
        gallery: Statistics of the columns: (c,), or (r, c) where each row has columns of its own.

    Returns:
        The mean of both normalized distances, (r, c) float64; smaller is nearer, mostly negative.
    """
    of_query = (squares - query.mean[:, None]) / query.deviation[:, None]
    of_gallery = (squares - gallery.mean) / gallery.deviation
    return of_query.add_(of_gallery).div_(2)


@torch.no_grad()
def normalized_blocks(
    query_features: Tensor,
    gallery_features: Tensor,
    query: CohortStatistics,
    gallery: CohortStatistics,
    *,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> Iterator[Tensor]:
    """Compute normalized distances, for :func:`evaluate_distances` and its like.

    Args:
        query_features: Shape (q, d).
        gallery_features: Shape (g, d), same device.
        query: Statistics of the queries.
        gallery: Statistics of the gallery.
        memory_limit: Bytes that may be used on top of the features, for the block that is given
            out and the next one.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Yields:
        Blocks of rows (r, g) float64, in the order of the queries.

    Raises:
        TypeError: Features of the wrong type.
        ScoringInputError: Features or statistics that do not fit, or a memory limit that is too
            small.
    """
    source = FeatureKeys(query_features, gallery_features)
    for owner, features, statistics in (
        ('query', source.query, query),
        ('gallery', source.gallery, gallery),
    ):
        if len(statistics.mean) != len(features):
            raise ScoringInputError(
                f'{len(statistics.mean)} {owner} statistics for {len(features)} {owner} features'
            )
    num_query, num_gallery, width = len(source.query), len(source.gallery), source.query.shape[1]
    tile_rows = max(1, source.tile_rows)
    plan = plan_rows(
        memory_limit,
        fixed=2 * min(tile_rows, num_gallery) * width * 8,
        per_block_row=num_gallery * 32 + width * 16,
        per_group_row=0,
        what=f'normalizing the distances to {num_gallery} gallery features of width {width}',
    )
    meter = start_meter(progress, 'normalizing', num_query)
    for start in range(0, num_query, plan.block):
        rows = slice(start, min(start + plan.block, num_query))
        own = source.query[rows].double() - source.center
        squares = torch.empty(len(own), num_gallery, dtype=torch.float64, device=own.device)
        for left in range(0, num_gallery, tile_rows):
            tile = source.gallery[left : left + tile_rows].double() - source.center
            part = squares[:, left : left + tile_rows]
            part.copy_(own @ tile.T).mul_(-2).add_(tile.square().sum(1))
        squares.add_(own.square().sum(1, keepdim=True)).clamp_min_(0)
        part_of_query = CohortStatistics(query.mean[rows], query.deviation[rows])
        yield normalize_distances(squares, part_of_query, gallery)
        meter.update(rows.stop)
