"""Which images make the batches of an epoch: P identities with K images each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def plan_pk_batches(
    images_of: Mapping[Any, Sequence[int]],
    ids_per_batch: int,
    instances_per_id: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Plan one epoch of batches of P identities with K images each.

    Every identity's images are shuffled and cut into groups of K; an identity with fewer than K is
    drawn with replacement, a remainder is dropped. Batches take P identities at random for as long
    as at least P have groups left.

    Args:
        images_of: Image indices by identity.
        ids_per_batch: P.
        instances_per_id: K.
        generator: Source of randomness.

    Returns:
        Image indices of shape ``(batches, P, K)``.

    Example:
        >>> images_of = {7: [0, 1], 8: [2, 3], 9: [4]}
        >>> batches = plan_pk_batches(images_of, 3, 2, np.random.default_rng(0))
        >>> batches.shape, sorted(batches.flatten().tolist())  # the single image comes twice
        ((1, 3, 2), [0, 1, 2, 3, 4, 4])
    """
    groups: dict[Any, list[np.ndarray]] = {}
    for person, images in images_of.items():
        if len(images) < instances_per_id:
            drawn = generator.choice(images, instances_per_id, replace=True)
        else:
            drawn = generator.permutation(images)
        count = len(drawn) // instances_per_id
        groups[person] = list(drawn[: count * instances_per_id].reshape(count, -1))
    left = np.array(sorted(groups))
    batches = []
    while len(left) >= ids_per_batch:
        chosen = generator.choice(left, ids_per_batch, replace=False)
        batches.append([groups[person].pop() for person in chosen])
        left = left[[bool(groups[person]) for person in left]]
    return np.array(batches, dtype=np.int64).reshape(-1, ids_per_batch, instances_per_id)
