"""How well groups agree with known identities: V-measure, and pairs of photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GroupingScores:
    """Agreement of groups with identities; every number but the counts is in [0, 1].

    Attributes:
        num_photos: Photos whose identity is known.
        num_people: Identities among them.
        num_groups: Groups among them.
        homogeneity: 1 if no group holds two people.
        completeness: 1 if no person is in two groups.
        v_measure: Harmonic mean of both (Rosenberg and Hirschberg, EMNLP 2007).
        precision: Share of the pairs of photos in one group that show one person.
        recall: Share of the pairs of photos of one person that are in one group.
        f1: Harmonic mean of precision and recall.
    """

    num_photos: int
    num_people: int
    num_groups: int
    homogeneity: float
    completeness: float
    v_measure: float
    precision: float
    recall: float
    f1: float


def score_groups(groups: np.ndarray, person_ids: np.ndarray) -> GroupingScores:
    """Compare groups with identities; memory grows with the number of photos alone.

    Args:
        groups: Group of each photo, (N,) int64; each negative one is a group of its own.
        person_ids: Identity of each photo, (N,) int64; negative ones are left out.

    Returns:
        The scores. A precision or recall over no pair is 1.

    Raises:
        ValueError: If no identity is known.

    Example:
        >>> score_groups(np.array([0, 0, 1, -1]), np.array([7, 7, 7, 8])).f1
        0.5
    """
    known = person_ids >= 0
    if not known.any():
        raise ValueError('no identity is known: there is nothing to compare with')
    groups, people = groups[known].copy(), person_ids[known]
    alone = groups < 0
    groups[alone] = max(int(groups.max()), -1) + 1 + np.arange(alone.sum())
    cells, both = np.unique(np.stack([groups, people], axis=1), axis=0, return_counts=True)
    by_group = np.unique(cells[:, 0], return_inverse=True)[1]
    by_person = np.unique(cells[:, 1], return_inverse=True)[1]
    in_group = np.bincount(by_group, both)
    of_person = np.bincount(by_person, both)
    count = len(groups)
    homogeneity = _explained(both, in_group[by_group], of_person, count)
    completeness = _explained(both, of_person[by_person], in_group, count)
    together = _pairs(both)
    precision = together / grouped if (grouped := _pairs(in_group)) else 1.0
    recall = together / same if (same := _pairs(of_person)) else 1.0
    return GroupingScores(
        num_photos=count,
        num_people=len(of_person),
        num_groups=len(in_group),
        homogeneity=homogeneity,
        completeness=completeness,
        v_measure=_harmonic(homogeneity, completeness),
        precision=precision,
        recall=recall,
        f1=_harmonic(precision, recall),
    )


def _explained(both: np.ndarray, given: np.ndarray, wanted: np.ndarray, count: int) -> float:
    """Share of the entropy of ``wanted`` that is gone once ``given`` is known."""
    share = wanted / count
    entropy = -float((share * np.log(share)).sum())
    if entropy <= 0:
        return 1.0
    left = -float((both / count * np.log(both / given)).sum())
    return min(max(1 - left / entropy, 0.0), 1.0)


def _pairs(counts: np.ndarray) -> float:
    return float((counts * (counts - 1.0)).sum() / 2)


def _harmonic(first: float, second: float) -> float:
    return 2 * first * second / (first + second) if first + second else 0.0
