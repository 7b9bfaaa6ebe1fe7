"""Batches in which each of several data sets has its share of the identities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fusionreid.errors import ConfigError

from .pk_batches import plan_pk_batches


def share_identities(ids_per_batch: int, weights: Sequence[float]) -> list[int]:
    """Share the identities of a batch by weights, as whole numbers (by largest remainders).

    Args:
        ids_per_batch: Identities in a batch.
        weights: A weight above 0 for each data set.

    Returns:
        Identities of each data set, which sum up to ``ids_per_batch``.

    Raises:
        ConfigError: If a weight is not above 0, or a data set would be left without an identity.

    Example:
        >>> share_identities(16, [1, 1, 1])
        [6, 5, 5]
        >>> share_identities(8, [2, 1, 1])
        [4, 2, 2]
    """
    if not all(np.isfinite(weight) and weight > 0 for weight in weights):
        raise ConfigError(f'the weights of data sets must be above 0, got {list(weights)}')
    exact = ids_per_batch * np.array(weights, dtype=float) / sum(weights)
    shares = np.floor(exact).astype(int)
    order = np.argsort(shares - exact, kind='stable')
    shares[order[: ids_per_batch - shares.sum()]] += 1
    if shares.min() < 1:
        raise ConfigError(
            f'a batch of {ids_per_batch} identities leaves data set {int(shares.argmin())} none of '
            f'them by the weights {list(weights)}: raise ids_per_batch or its weight'
        )
    return shares.tolist()


def plan_shared_batches(
    images_of_sets: Sequence[Mapping[Any, Sequence[int]]],
    ids_of_sets: Sequence[int],
    processes: int,
    instances_per_id: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Plan one epoch of PK batches to which each data set gives a fixed number of identities.

    The epoch ends with the set whose images last longest; the others start over, shuffled anew.

    Args:
        images_of_sets: Image indices by identity, for each set.
        ids_of_sets: Identities that each set gives to the batch of one process.
        processes: Processes, each of which gets batches of its own.
        instances_per_id: K.
        generator: Source of randomness.

    Returns:
        Image indices of shape ``(batches, processes, P, K)`` with P the sum of ``ids_of_sets``.

    Raises:
        ConfigError: If a set has fewer identities than all processes want of it at once.
    """
    plans = []
    for number, (images_of, ids) in enumerate(zip(images_of_sets, ids_of_sets, strict=True)):
        if len(images_of) < ids * processes:
            raise ConfigError(
                f'data set {number} has {len(images_of)} identities, but {processes} process(es) '
                f'want {ids} of them in each batch: lower ids_per_batch or its weight'
            )
        plans.append([plan_pk_batches(images_of, ids * processes, instances_per_id, generator)])
    length = max(len(plan[0]) for plan in plans)
    for images_of, ids, plan in zip(images_of_sets, ids_of_sets, plans, strict=True):
        while sum(map(len, plan)) < length:
            plan.append(plan_pk_batches(images_of, ids * processes, instances_per_id, generator))
    parts = [
        np.concatenate(plan)[:length].reshape(length, processes, ids, instances_per_id)
        for ids, plan in zip(ids_of_sets, plans, strict=True)
    ]
    return np.concatenate(parts, 2)
