"""Scores single pairs: how well the distance of two photos tells whether they show one person.

Every pair of a query and a gallery image shows either the *same* person or *different* ones. At a
threshold, the true positive rate (TPR) is the fraction of same pairs nearer than it, the false
positive rate (FPR) that of different pairs.

There are far too many pairs to keep or sort. Their squared distances, computed in float64, are
rounded to a grid of 2^40 levels. A first pass over the pairs counts them in 2^20 coarse bins, which
tells in which bin each wanted threshold lies; a second one counts the single levels of those few
bins. So thresholds and rates are exact on the grid, in memory that does not depend on the number
of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor

from .distances import FeatureKeys
from .errors import ScoringInputError
from .matches import same_known
from .memory import DEFAULT_MEMORY_LIMIT, plan_rows
from .progress import Meter, StartMeter, start_meter
from .rates import largest_count
from .validation import NORM_ROWS, label_pair
from .workers import start_workers, worker_count

FINE_BITS = 20
# Coarse bins, and levels in each of them.
BINS = 1 << FINE_BITS
LEVELS = BINS << FINE_BITS
# Pairs are worked on in tiles of this size; larger ones gain nothing.
TILE_ROWS = 512
TILE_COLUMNS = 2048
# Smaller ones would take longer to count than to compute.
LEAST_ROWS = 128
# For each pair of a tile, at worst: squared distance, level, bin, masks, and a sorted copy.
PAIR_BYTES = 72
# Rows of the counts.
DIFFERENT, SAME = 0, 1
# Looks at a tile: rows, columns, levels, where one identity is shown, which pairs are left out.
TileCounter = Callable[[slice, slice, Tensor, Tensor, Tensor | None], None]


@dataclass(frozen=True)
class OperatingPoint:
    """What calling pairs nearer than a threshold the same person leads to.

    Attributes:
        target_fpr: False positive rate that must not be exceeded.
        threshold: Largest distance that keeps to it, that of the first different pair that may
            not be accepted any more; infinite where all may. Pairs *nearer* than it are accepted.
        fpr: Fraction of different pairs that are accepted, at most ``target_fpr``.
        tpr: Fraction of same pairs that are accepted.
    """

    target_fpr: float
    threshold: float
    fpr: float
    tpr: float


@dataclass(frozen=True)
class VerificationResult:
    """How well a distance tells pairs of the same person from pairs of different ones.

    Attributes:
        operating_points: One for each wanted false positive rate, in the order asked for.
        eer: Equal error rate: where the fraction of different pairs that are accepted equals that
            of same pairs that are refused, on the ROC's straight line between the distances
            around it; in [0, 1].
        eer_threshold: Distance at which it is reached.
        auc: Area under the ROC curve: how often a same pair is nearer than a different one, ties
            counted half; in [0, 1].
        auc_error: ``auc`` is this exact.
        num_same: Number of same pairs.
        num_different: Number of different pairs.
        edges: Distances between which ``same_counts`` and ``different_counts`` count, (B + 1,)
            float64, ascending; equally far apart when squared.
        same_counts: Same pairs between two edges, (B,) int64.
        different_counts: Different pairs between two edges, (B,) int64.
    """

    operating_points: tuple[OperatingPoint, ...]
    eer: float
    eer_threshold: float
    auc: float
    auc_error: float
    num_same: int
    num_different: int
    edges: Tensor
    same_counts: Tensor
    different_counts: Tensor

    @property
    def measured_points(self) -> tuple[OperatingPoint, ...]:
        """The operating points at 0, or at a rate of one different pair or more.

        Below it, a threshold accepts none of these pairs whatever the rate that was asked for.
        """
        return tuple(
            point
            for point in self.operating_points
            if point.target_fpr == 0 or largest_count(point.target_fpr, self.num_different)
        )

    def roc(self) -> tuple[Tensor, Tensor, Tensor]:
        """Points of the ROC curve: all that can be told apart by :attr:`edges`.

        Returns:
            False positive rates, true positive rates and thresholds, each (P,) float64 and
            ascending, from (0, 0) to (1, 1).
        """
        occupied = (self.same_counts + self.different_counts).nonzero().flatten()
        start = torch.zeros(1, dtype=torch.float64)
        fpr = self.different_counts[occupied].cumsum(0).double() / self.num_different
        tpr = self.same_counts[occupied].cumsum(0).double() / self.num_same
        thresholds = torch.cat([self.edges[occupied[:1]], self.edges[occupied + 1]])
        return torch.cat([start, fpr]), torch.cat([start, tpr]), thresholds

    def histogram(self, num_bins: int = 100) -> tuple[Tensor, Tensor, Tensor]:
        """Count the pairs in few bins of equal width, for a picture or a table.

        Args:
            num_bins: Number of bins from distance 0 to the largest one.

        Returns:
            Edges (num_bins + 1,) float64, same pairs (num_bins,) and different pairs (num_bins,)
            int64.

        Raises:
            ScoringInputError: ``num_bins`` is below 1.
        """
        if num_bins < 1:
            raise ScoringInputError(f'num_bins must be at least 1, got {num_bins}')
        edges = torch.linspace(0, float(self.edges[-1]), num_bins + 1, dtype=torch.float64)
        middle = (self.edges[1:] + self.edges[:-1]) / 2
        place = (torch.bucketize(middle, edges) - 1).clamp_(0, num_bins - 1)
        counts = torch.zeros(2, num_bins, dtype=torch.int64)
        counts[SAME].index_add_(0, place, self.same_counts)
        counts[DIFFERENT].index_add_(0, place, self.different_counts)
        return edges, counts[SAME], counts[DIFFERENT]


@torch.no_grad()
def evaluate_verification(
    query_features: Tensor,
    gallery_features: Tensor,
    query_ids: Tensor | Sequence[int],
    gallery_ids: Tensor | Sequence[int],
    query_cameras: Tensor | Sequence[int] | None = None,
    gallery_cameras: Tensor | Sequence[int] | None = None,
    *,
    fprs: Sequence[float] = (1e-2, 1e-3, 1e-4),
    remove_same_camera: bool = True,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> VerificationResult:
    """Measure how well the Euclidean distance tells whether two photos show the same person.

    All pairs of a query and a gallery image count, except, as in ranking, those of the same
    identity *and* camera. Pairs of different people count whatever their cameras; an identity that
    no query shows (a distractor) is a different one. All pairs are judged by one threshold, which
    is harder than to rank the gallery for each query.

    Squared distances are exact to 2^-40 of the largest one possible between the features (7e-12
    for features of length 1); what agrees to that is a tie. The result does not depend on how the
    work is cut up. A false positive rate below ``1 / num_different`` accepts no different pair.

    Args:
        query_features: Shape (q, d), float16, bfloat16, float32 or float64.
        gallery_features: Shape (g, d), same device.
        query_ids: (q,) integers.
        gallery_ids: (g,) integers.
        query_cameras: (q,) integers; negative is an unknown camera, which is never the same camera.
        gallery_cameras: (g,) integers.
        fprs: False positive rates, each in [0, 1], for which an operating point is wanted.
        remove_same_camera: Leave out pairs of the same identity and camera.
        memory_limit: Bytes that may be used on top of the features; checked before work starts.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        The rates, thresholds and counts, on the CPU.

    Raises:
        TypeError: Features or labels of the wrong type.
        ScoringInputError: Features that are empty, of different width or not finite, labels of the
            wrong length, a rate outside [0, 1], no pair of the same person or none of different
            people, or a memory limit that is too small.

    Example:
        >>> query = torch.tensor([[1.0], [2.0]])
        >>> gallery = torch.tensor([[1.1], [2.1], [1.7]])
        >>> result = evaluate_verification(query, gallery, [1, 2], [1, 2, 1], [0, 0], [1, 1, 1])
        >>> result.num_same, result.num_different, round(result.auc, 3)
        (3, 3, 0.889)
    """
    fprs = tuple(fprs)
    for fpr in fprs:
        if not 0 <= fpr <= 1:
            raise ScoringInputError(f'a false positive rate must be in [0, 1], got {fpr}')
    source = FeatureKeys(query_features, gallery_features)
    counts, device = (len(source.query), len(source.gallery)), source.query.device
    labels = PairLabels(*label_pair(query_ids, gallery_ids, counts, 'ids', device))
    if remove_same_camera:
        cameras = label_pair(query_cameras, gallery_cameras, counts, 'cameras', device)
        labels = PairLabels(labels.query_ids, labels.gallery_ids, *cameras)
    num_same, num_different = labels.count_pairs()
    pairs = PairTiles(source, labels, memory_limit, num_thresholds=len(fprs) + 1)

    coarse = pairs.count_bins(start_meter(progress, 'counting pairs', len(source.gallery)))
    up_to = coarse.cumsum(1)
    allowed = [largest_count(fpr, num_different) for fpr in fprs]
    bin_of = [int(torch.searchsorted(up_to[DIFFERENT], count, right=True)) for count in allowed]
    bin_of.append(_crossing(up_to, num_same, num_different))
    wanted = sorted({place for place in bin_of if place < BINS})
    fine = pairs.count_levels(
        wanted, start_meter(progress, 'finding thresholds', len(source.gallery))
    )
    before = up_to - coarse

    points = []
    for fpr, count, place in zip(fprs, allowed, bin_of, strict=False):
        if place == BINS:  # every different pair may be accepted
            points.append(OperatingPoint(fpr, float('inf'), 1.0, 1.0))
            continue
        levels = fine[wanted.index(place)]
        reached = before[:, place, None] + levels.cumsum(1)
        level = int(torch.searchsorted(reached[DIFFERENT], count, right=True))
        accepted = (reached[:, level] - levels[:, level]).tolist()
        points.append(
            OperatingPoint(
                target_fpr=fpr,
                threshold=pairs.distance((place << FINE_BITS) + level),
                fpr=accepted[DIFFERENT] / num_different,
                tpr=accepted[SAME] / num_same,
            )
        )

    place = bin_of[-1]
    levels = fine[wanted.index(place)]
    reached = before[:, place, None] + levels.cumsum(1)
    level = _crossing(reached, num_same, num_different)
    eer = _equal_error_rate(
        (reached[:, level] - levels[:, level]).tolist(),
        reached[:, level].tolist(),
        num_same,
        num_different,
    )

    total = num_same * num_different
    undecided = float((coarse[SAME].double() * coarse[DIFFERENT].double()).sum()) / 2 / total
    nearer = coarse[SAME].double() * (num_different - up_to[DIFFERENT]).double()
    occupied = coarse.sum(0).nonzero().flatten()
    first, last = int(occupied[0]), int(occupied[-1])
    return VerificationResult(
        operating_points=tuple(points),
        eer=eer,
        eer_threshold=pairs.distance((place << FINE_BITS) + level),
        auc=float(nearer.sum()) / total + undecided,
        auc_error=undecided,
        num_same=num_same,
        num_different=num_different,
        edges=pairs.edges(first, last + 1),
        same_counts=coarse[SAME, first : last + 1].clone(),
        different_counts=coarse[DIFFERENT, first : last + 1].clone(),
    )


def _crossing(up_to: Tensor, num_same: int, num_different: int) -> int:
    """Find where as large a share of different pairs is accepted as of same pairs is refused.

    Args:
        up_to: Different and same pairs up to each place, (2, P).
        num_same: Number of same pairs.
        num_different: Number of different pairs.

    Returns:
        The first such place.
    """
    accepted = up_to[DIFFERENT].double() / num_different
    refused = (num_same - up_to[SAME]).double() / num_same
    return int((accepted >= refused).to(torch.uint8).argmax())


def _equal_error_rate(
    before: list[int], after: list[int], num_same: int, num_different: int
) -> float:
    """Where the straight line between two neighboring points of the ROC has equal errors."""
    start, end = before[DIFFERENT] / num_different, after[DIFFERENT] / num_different
    # How far the refused share lies above the accepted one before, and below it after.
    above = (num_same - before[SAME]) / num_same - start
    below = end - (num_same - after[SAME]) / num_same
    return start + (end - start) * above / (above + below)


class PairLabels(NamedTuple):
    """Who and which camera the images show; without cameras, same-camera pairs are kept.

    Attributes:
        query_ids: (q,) int64.
        gallery_ids: (g,) int64.
        query_cameras: (q,) int64.
        gallery_cameras: (g,) int64.
    """

    query_ids: Tensor
    gallery_ids: Tensor
    query_cameras: Tensor | None = None
    gallery_cameras: Tensor | None = None

    def count_pairs(self) -> tuple[int, int]:
        """Count the pairs.

        Returns:
            Numbers of same and of different pairs.

        Raises:
            ScoringInputError: One of them is 0.
        """
        of_one_identity = _count_equal(self.query_ids[:, None], self.gallery_ids[:, None])
        same = of_one_identity
        if self.query_cameras is not None and self.gallery_cameras is not None:
            query = torch.stack([self.query_ids, self.query_cameras], dim=1)
            gallery = torch.stack([self.gallery_ids, self.gallery_cameras], dim=1)
            same -= _count_equal(query[self.query_cameras >= 0], gallery[self.gallery_cameras >= 0])
        different = len(self.query_ids) * len(self.gallery_ids) - of_one_identity
        if same == 0:
            raise ScoringInputError(
                'no query and gallery image show the same person: check that both use the same '
                'identity numbers, and that same-camera removal suits the data set (with one '
                'camera, or none, pass remove_same_camera=False)'
            )
        if different == 0:
            raise ScoringInputError(
                'all queries and gallery images show the same person: there is nobody to tell '
                'them from'
            )
        return same, different

    def masks(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor | None]:
        """Look up what the pairs of a tile are.

        Args:
            rows: Queries of the tile.
            columns: Gallery images of the tile.

        Returns:
            Where they are of one identity, and where they are left out (None for nowhere), (R, C).
        """
        one_identity = self.query_ids[rows, None] == self.gallery_ids[columns]
        if self.query_cameras is None or self.gallery_cameras is None:
            return one_identity, None
        left_out = same_known(self.query_cameras[rows, None], self.gallery_cameras[columns])
        return one_identity, left_out.logical_and_(one_identity)


def _count_equal(first: Tensor, second: Tensor) -> int:
    """Number of pairs of equal rows, one from each of two int64 tensors of shape (n, k)."""
    _, number = torch.cat([first, second]).unique(dim=0, return_inverse=True)
    highest = int(number.max()) + 1 if len(number) else 0
    counts = [
        torch.bincount(part, minlength=highest) for part in number.split([len(first), len(second)])
    ]
    return int((counts[0] * counts[1]).sum())


class PairTiles:
    """All pairs of queries and gallery, tile by tile, with their squared distances on the grid.

    Args:
        source: The checked features.
        labels: Who they show.
        memory_limit: Bytes that may be used on top of the features.
        num_thresholds: Bins of which single levels will be counted at most.

    Raises:
        ScoringInputError: The memory limit is too small.
    """

    def __init__(
        self, source: FeatureKeys, labels: PairLabels, memory_limit: int, num_thresholds: int
    ) -> None:
        self.labels = labels
        self.query, self.gallery = source.query, source.gallery
        self.device = self.query.device
        width = self.query.shape[1]
        columns = min(TILE_COLUMNS, len(self.gallery))
        # Counts by bin, their sums, counts by level, and a tile of the gallery.
        shared = (8 + 2 * num_thresholds) * BINS * 8 + 2 * max(columns, NORM_ROWS) * width * 8
        # What a worker counts in one tile, and what the allocator keeps of the one before.
        of_worker = 6 * BINS * 8
        row = columns * PAIR_BYTES + width * 16
        rows = min(LEAST_ROWS, len(self.query))
        affordable = (memory_limit - shared) // (of_worker + rows * row)
        workers = max(1, min(worker_count(self.device), affordable))
        plan = plan_rows(
            memory_limit,
            fixed=shared + workers * (of_worker + (rows - 1) * row),
            per_block_row=workers * row,
            per_group_row=0,
            what=f'comparing features of width {width} in pairs',
        )
        self.workers, self.columns = workers, columns
        self.rows = min(rows - 1 + plan.block, TILE_ROWS)
        self.center = source.center
        largest = (self._radius(self.query) + self._radius(self.gallery)) ** 2
        # A power of two, so that scaling by it is exact; 1 where all features are the same.
        exponent = torch.frexp(torch.tensor(largest, dtype=torch.float64)).exponent
        self.quantum = 2.0 ** max(int(exponent) - 2 * FINE_BITS, -900)

    def distance(self, level: int) -> float:
        """Tell the distance that a level of the grid stands for.

        Args:
            level: The level.

        Returns:
            The distance.
        """
        return (level * self.quantum) ** 0.5

    def edges(self, first: int, last: int) -> Tensor:
        """Tell where coarse bins begin.

        Args:
            first: The first bin.
            last: The last one.

        Returns:
            Their lower edges as distances, float64.
        """
        # Levels are rounded: a bin reaches from half a level below its first one.
        levels = torch.arange(first, last + 1, dtype=torch.float64) * BINS - 0.5
        return levels.clamp_min_(0).mul_(self.quantum).sqrt_()

    def count_bins(self, meter: Meter) -> Tensor:
        """Count the pairs in each coarse bin.

        Args:
            meter: Is told how much of the gallery is done.

        Returns:
            Different and same pairs, (2, BINS) int64 on the CPU.
        """
        total = torch.zeros(2 * BINS, dtype=torch.int64, device=self.device)
        lock = Lock()

        def count(
            rows: slice,
            columns: slice,
            levels: Tensor,
            one_identity: Tensor,
            left_out: Tensor | None,
        ) -> None:
            place = levels.bitwise_right_shift_(FINE_BITS)
            place.add_(one_identity.long().bitwise_left_shift_(FINE_BITS))
            if left_out is not None:
                place.masked_fill_(left_out, 2 * BINS)
            found = torch.bincount(place.flatten(), minlength=2 * BINS + 1)
            with lock:
                total.add_(found[: 2 * BINS])

        self.for_each_tile(count, meter)
        return total.view(2, BINS).cpu()

    def count_levels(self, bins: Sequence[int], meter: Meter) -> Tensor:
        """Count the pairs at each level of some bins.

        Args:
            bins: The bins.
            meter: Is told how much of the gallery is done.

        Returns:
            Different and same pairs, (len(bins), 2, BINS) int64 on the CPU.
        """
        total = torch.zeros(len(bins) * 2 * BINS, dtype=torch.int64, device=self.device)
        number_of = torch.full((BINS,), -1, dtype=torch.int64, device=self.device)
        number_of[torch.tensor(bins, device=self.device)] = torch.arange(
            len(bins), device=self.device
        )
        lock = Lock()

        def count(
            rows: slice,
            columns: slice,
            levels: Tensor,
            one_identity: Tensor,
            left_out: Tensor | None,
        ) -> None:
            number = number_of[levels >> FINE_BITS]
            wanted = number >= 0
            if left_out is not None:
                wanted.logical_and_(left_out.logical_not_())
            place = (number[wanted] * 2 + one_identity[wanted]) << FINE_BITS
            place += levels[wanted] & (BINS - 1)
            place, found = place.unique(return_counts=True)
            with lock:
                total[place] += found

        self.for_each_tile(count, meter)
        return total.view(len(bins), 2, BINS).cpu()

    def for_each_tile(self, count: TileCounter, meter: Meter) -> None:
        """Go through all pairs, in several threads.

        Args:
            count: Is called with the rows, the columns, the levels and the masks of each tile.
            meter: Is told how much of the gallery is done.
        """
        num_query, num_gallery = len(self.query), len(self.gallery)
        autocast = torch.autocast(self.device.type, enabled=False)
        with start_workers(self.workers) as run, autocast:
            for left in range(0, num_gallery, self.columns):
                columns = slice(left, min(left + self.columns, num_gallery))
                tile = self.gallery[columns].double() - self.center
                squares = tile.square().sum(1).div_(self.quantum)

                @torch.no_grad()  # In a worker, the caller's setting does not hold.
                def work(
                    top: int,
                    columns: slice = columns,
                    tile: Tensor = tile,
                    squares: Tensor = squares,
                ) -> None:
                    rows = slice(top, min(top + self.rows, num_query))
                    query = self.query[rows].double() - self.center
                    levels = torch.addmm(squares, query, tile.T, alpha=-2 / self.quantum)
                    levels.add_(query.square().sum(1, keepdim=True).div_(self.quantum))
                    levels = levels.round_().clamp_(0, LEVELS - 1).long()
                    count(rows, columns, levels, *self.labels.masks(rows, columns))

                run(work, range(0, num_query, self.rows))
                meter.update(columns.stop)

    def _radius(self, features: Tensor) -> float:
        """Largest distance of a feature from the center."""
        parts = (part.double() - self.center for part in features.split(NORM_ROWS))
        return max(float(torch.linalg.vector_norm(part, dim=1).max()) for part in parts)
