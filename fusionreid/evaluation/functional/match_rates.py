"""How often pairs of photos are nearer than a distance, and how well that is known.

Pairs are not independent: one person who looks like many others is in many pairs. So the variance
of a rate is estimated by people: what two pairs have in common counts where they share a person,
on either side (the dyadic cluster-robust variance: Fafchamps and Gubert, 2007; Aronow et al.,
2015). The number of independent pairs with the same variance, the effective number (Korn and
Graubard, 1998), then stands in for the number of pairs in the interval of the rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

from .distances import FeatureKeys
from .errors import ScoringInputError
from .memory import DEFAULT_MEMORY_LIMIT
from .open_set import nearest_others
from .progress import StartMeter, start_meter
from .rates import effective_number
from .validation import as_labels, label_pair
from .verification import PairLabels, PairTiles, evaluate_verification

# Distances at which rates are kept, unless told otherwise.
DEFAULT_POINTS = 2000
# Shares of them that are spread over the rates of the pairs of the same person.
SAME_SHARE = 1 / 4


@dataclass(frozen=True)
class MatchRates:
    """Shares of pairs that are nearer than a distance.

    Attributes:
        distances: (P,) float64, ascending; no pair is nearer than the first.
        false_match_rates: Share of the pairs of different people, (P,) float64.
        true_match_rates: Share of the pairs of the same person, (P,) float64.
        effective_pairs: Number of independent pairs of different people that tell the rate as
            well, (P,) float64.
        num_same: Pairs of the same person.
        num_different: Pairs of different people.
        num_people: People in these.
    """

    distances: Tensor
    false_match_rates: Tensor
    true_match_rates: Tensor
    effective_pairs: Tensor
    num_same: int
    num_different: int
    num_people: int


@dataclass(frozen=True)
class SearchRates:
    """Shares of the searches for people who are not in a gallery that find somebody.

    Attributes:
        rates: At each of the distances that were given, (P,) float64.
        effective_searches: Number of independent searches that tell the rate as well, (P,) float64.
        num_searches: Searches.
        gallery_size: Images that each search compares, on average.
    """

    rates: Tensor
    effective_searches: Tensor
    num_searches: int
    gallery_size: float


def labels_of_one_set(
    ids: Tensor | Sequence[int], cameras: Tensor | Sequence[int], count: int
) -> tuple[Tensor, Tensor]:
    """Label photos of one set that are compared with each other, so that none meets itself.

    Args:
        ids: (n,) integers.
        cameras: (n,) integers; an unknown camera becomes one of the photo's own.
        count: n.

    Returns:
        Identities and cameras, numbered anew, (n,) int64 each.

    Raises:
        TypeError: Labels that are not integers.
        ScoringInputError: Labels of the wrong length.

    Example:
        >>> labels_of_one_set([7, 7, 8], [5, -1, -1], 3)[1].tolist()
        [1, 3, 4]
    """
    device = torch.device('cpu')
    people = as_labels(ids, count, 'ids', device)
    known = as_labels(cameras, count, 'cameras', device)
    # Cameras may have any numbers, so they are counted first.
    names, number = known.clamp_min(-1).unique(return_inverse=True)
    return people, torch.where(known < 0, len(names) + torch.arange(count), number)


@torch.no_grad()
def evaluate_match_rates(
    query_features: Tensor,
    gallery_features: Tensor,
    query_ids: Tensor | Sequence[int],
    gallery_ids: Tensor | Sequence[int],
    query_cameras: Tensor | Sequence[int],
    gallery_cameras: Tensor | Sequence[int],
    *,
    one_set: bool = False,
    num_points: int = DEFAULT_POINTS,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> MatchRates:
    """Measure which share of the pairs is nearer than a distance, for many distances.

    The pairs are those of :func:`~fusionreid.evaluation.functional.evaluate_verification`, whose
    ROC curve the distances are chosen from: densely where few different people are as near.

    Args:
        query_features: Shape (q, d), float16, bfloat16, float32 or float64.
        gallery_features: Shape (g, d), same device.
        query_ids: (q,) integers.
        gallery_ids: (g,) integers.
        query_cameras: (q,) integers; negative is an unknown camera, which is never the same camera.
        gallery_cameras: (g,) integers.
        one_set: Queries and gallery are the same photos in the same order, labeled by
            :func:`labels_of_one_set`; every pair then counts once.
        num_points: Distances to keep at most; fewer where there are many people for the memory.
        memory_limit: Bytes that may be used on top of the features.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        The rates.

    Raises:
        TypeError: Features or labels of the wrong type.
        ScoringInputError: Features that are empty, of different width or not finite, labels of the
            wrong length, no pair of the same person or none of different people, or a memory limit
            that is too small.
    """
    result = evaluate_verification(
        query_features,
        gallery_features,
        query_ids,
        gallery_ids,
        query_cameras,
        gallery_cameras,
        fprs=(),
        memory_limit=memory_limit,
        progress=progress,
    )
    counts, device = (len(query_features), len(gallery_features)), query_features.device
    labels = PairLabels(
        *label_pair(query_ids, gallery_ids, counts, 'ids', device),
        *label_pair(query_cameras, gallery_cameras, counts, 'cameras', device),
    )
    people = torch.cat([labels.query_ids, labels.gallery_ids])
    names, person_of = people.unique(return_inverse=True)
    # Of each person a number for every distance, in the counts and in a copy of them.
    most = max(16, memory_limit // 4 // (16 * len(names)))
    false, true, distances = result.roc()
    chosen = _choose_points(false, true, result.num_different, min(num_points, most))
    false, true, distances = false[chosen], true[chosen], distances[chosen]
    touched = _count_by_person(
        query_features, gallery_features, labels, person_of, len(names), distances,
        one_set, memory_limit, progress,
    )  # fmt: skip
    total = result.num_different // (2 if one_set else 1)
    expected = touched[:, -1:] * false
    variance = (touched[:, :-1] - expected).square_().sum(0)
    # Each pair has been counted for both of its people.
    variance = (variance - false * (1 - false) * total) / total**2
    count = int((touched[:, -1] > 0).sum())
    variance *= count / max(count - 1, 1)
    return MatchRates(
        distances=distances,
        false_match_rates=false,
        true_match_rates=true,
        effective_pairs=effective_number(false, variance, total),
        num_same=result.num_same // (2 if one_set else 1),
        num_different=total,
        num_people=count,
    )


def _choose_points(false: Tensor, true: Tensor, num_different: int, most: int) -> Tensor:
    """Choose at most ``most`` points of a ROC curve; indices, ascending."""
    if len(false) <= most:
        return torch.arange(len(false))
    of_same = int(most * SAME_SHARE)
    # Steps of the same ratio from one different pair to all of them.
    wanted = torch.logspace(-1, 0, most - of_same - 2, base=num_different, dtype=torch.float64)
    places = [
        torch.searchsorted(false, wanted * (1 - 1e-12)),
        torch.searchsorted(true, torch.linspace(0, 1, of_same, dtype=torch.float64)),
        torch.tensor([0, len(false) - 1]),
    ]
    return torch.cat(places).clamp_max_(len(false) - 1).unique()


def _count_by_person(
    query: Tensor,
    gallery: Tensor,
    labels: PairLabels,
    person_of: Tensor,
    num_people: int,
    distances: Tensor,
    one_set: bool,
    memory_limit: int,
    progress: StartMeter | None,
) -> Tensor:
    """Pairs of different people that each person is in, nearer than each distance, and of all.

    Returns:
        (num_people, P + 1) float64 on the CPU.
    """
    device = query.device
    tiles = PairTiles(FeatureKeys(query, gallery), labels, memory_limit * 3 // 4, num_thresholds=0)
    edges = distances.to(device).square() / tiles.quantum
    width = len(edges) + 1
    total = torch.zeros(num_people, width, dtype=torch.int64, device=device)
    of_query, of_gallery = person_of.split([len(query), len(gallery)])
    lock = Lock()

    def count(
        rows: slice, columns: slice, levels: Tensor, one_identity: Tensor, left_out: Tensor | None
    ) -> None:
        # A pair at an edge is not nearer than it.
        place = torch.bucketize(levels.double(), edges, right=True)
        place.masked_fill_(one_identity, width)
        sides = [(of_query[rows], place)] if one_set else [
            (of_query[rows], place), (of_gallery[columns], place.T)
        ]  # fmt: skip
        for people, values in sides:
            present, local = people.unique(return_inverse=True)
            flat = (local[:, None] * (width + 1) + values).flatten()
            found = torch.bincount(flat, minlength=len(present) * (width + 1))
            with lock:
                total[present] += found.view(len(present), width + 1)[:, :width]

    tiles.for_each_tile(count, start_meter(progress, 'counting by person', len(gallery)))
    # Place 0 is nearer than the first distance, at which nothing is.
    return total.cumsum(1).double().cpu()


@torch.no_grad()
def evaluate_search_rates(
    query_features: Tensor,
    gallery_features: Tensor,
    query_ids: Tensor | Sequence[int],
    gallery_ids: Tensor | Sequence[int],
    distances: Tensor,
    *,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    progress: StartMeter | None = None,
) -> SearchRates:
    """Measure which share of searches for a stranger finds somebody nearer than a distance.

    Each query is compared with the gallery without its own identity. Queries of one person are
    one cluster: the variance is that between people.

    Args:
        query_features: Shape (q, d).
        gallery_features: Shape (g, d), same device.
        query_ids: (q,) integers.
        gallery_ids: (g,) integers.
        distances: (P,) float64, ascending.
        memory_limit: Bytes that may be used on top of the features.
        progress: Starts what shows how far it is, such as the class
            :class:`fusionreid.utils.progress.Progress`.

    Returns:
        The rates.

    Raises:
        TypeError: Features or labels of the wrong type.
        ScoringInputError: As for :func:`~fusionreid.evaluation.functional.top_k`, or no distance.
    """
    if not len(distances):
        raise ScoringInputError('there is no distance to measure rates at')
    nearest = nearest_others(
        query_features,
        gallery_features,
        query_ids,
        gallery_ids,
        memory_limit=memory_limit,
        progress=progress,
    ).cpu()
    counts = (len(nearest), len(gallery_features))
    people, targets = label_pair(query_ids, gallery_ids, counts, 'ids', nearest.device)
    names, person_of, sizes = people.unique(return_inverse=True, return_counts=True)
    first = torch.bucketize(nearest, distances, right=True)
    found = torch.zeros(len(names), len(distances) + 1, dtype=torch.float64)
    found.view(-1).index_add_(
        0, person_of * found.shape[1] + first, torch.ones(len(first), dtype=torch.float64)
    )
    found = found.cumsum(1)[:, :-1]
    rates = found.sum(0) / len(people)
    variance = (found - sizes[:, None] * rates).square().sum(0) / len(people) ** 2
    variance *= len(names) / max(len(names) - 1, 1)
    in_gallery, images = targets.unique(return_counts=True)
    place = torch.searchsorted(in_gallery, people).clamp_max(len(in_gallery) - 1)
    own = torch.where(in_gallery[place] == people, images[place], 0)
    return SearchRates(
        rates=rates,
        effective_searches=effective_number(rates, variance, len(people)),
        num_searches=len(people),
        gallery_size=float((len(targets) - own).double().mean()),
    )
