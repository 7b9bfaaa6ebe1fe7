"""Several test splits of one data set, over which scores are averaged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .annotation import ReIDRecord

TEST_ROLES = ('query', 'gallery')
NUM_SPLITS = 10


def draw_one_each(
    records: Iterable[ReIDRecord], random: np.random.Generator
) -> dict[int, ReIDRecord]:
    """Draw one image of each person.

    Args:
        records: Images.
        random: Where the draws come from.

    Returns:
        An image by person, in ascending order of the people.
    """
    images: dict[int, list[ReIDRecord]] = {}
    for record in sorted(records):
        images.setdefault(record.person_id, []).append(record)
    return {
        person: images[person][random.integers(len(images[person]))] for person in sorted(images)
    }


def draw_people(
    people: Iterable[int], count: int, random: np.random.Generator
) -> tuple[set[int], set[int]]:
    """Divide people at random.

    Args:
        people: Identities.
        count: How many train.
        random: Where the draws come from.

    Returns:
        The people who train, and the others.
    """
    order = random.permutation(sorted(set(people))).tolist()
    return set(order[:count]), set(order[count:])


def join_splits(
    splits: Sequence[Mapping[str, Sequence[ReIDRecord]]], description: str
) -> tuple[dict[str, list[ReIDRecord]], dict[str, Any]]:
    """Put the images of several test splits together, each image once, so that it is encoded once.

    Args:
        splits: Queries and gallery of each split.
        description: What the splits are, for the table of scores.

    Returns:
        Queries and gallery of all splits, where an image has the role of the first split that it
        is in; and for metainfo ``test_splits`` the ``description``, the ``size`` (the number of
        images) and for each of the ``splits`` the rows of its queries and of its gallery, counted
        over the queries followed by the gallery.
    """
    roles: dict[ReIDRecord, str] = {}
    for split in splits:
        for role in TEST_ROLES:
            for record in split[role]:
                roles.setdefault(record, role)
    records = {role: sorted(r for r, own in roles.items() if own == role) for role in TEST_ROLES}
    row_of = {record: row for row, record in enumerate(records['query'] + records['gallery'])}
    rows = [
        tuple(np.array([row_of[r] for r in split[role]], dtype=np.int64) for role in TEST_ROLES)
        for split in splits
    ]
    return records, {'description': description, 'size': len(row_of), 'splits': rows}
