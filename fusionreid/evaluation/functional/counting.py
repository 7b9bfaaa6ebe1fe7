"""Counting the entries of each row that lie before a threshold, without sorting their indices."""

from __future__ import annotations

import torch
from torch import Tensor


def count_around(keys: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """For each row, count the entries below ``low`` and the entries up to and including ``high``.

    Args:
        keys: (R, G), float32 or float64, without NaN.
        low: thresholds of shape (R, W), same dtype.
        high: thresholds of shape (R, W), same dtype.

    Returns:
        Two int64 tensors of shape (R, W).
    """
    if keys.device.type == 'cpu':
        return count_by_sorting(keys, low, high)
    return count_by_comparing(keys, low, high)


def count_by_sorting(keys: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`count_around` by sorting the values of a copy; the faster way on a CPU.

    NumPy's sort of bare values is vectorised; ``torch.sort``, which carries an index with every
    value, takes some 15 times as long.
    """
    ordered = keys.clone(memory_format=torch.contiguous_format)
    ordered.numpy().sort(axis=1)
    return (
        torch.searchsorted(ordered, low.contiguous()),
        torch.searchsorted(ordered, high.contiguous(), right=True),
    )


def count_by_comparing(keys: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`count_around` by one pass over the keys per threshold; the faster way on a GPU."""
    below = torch.empty_like(low, dtype=torch.int64)
    up_to = torch.empty_like(below)
    for slot in range(low.shape[1]):
        below[:, slot] = (keys < low[:, slot : slot + 1]).sum(1)
        up_to[:, slot] = (keys <= high[:, slot : slot + 1]).sum(1)
    return below, up_to


def true_positions(mask: Tensor) -> Tensor:
    """Flat positions of the True entries of a contiguous mask, int64, ascending."""
    if mask.device.type == 'cpu':
        # Some ten times faster than Tensor.nonzero on a sparse mask.
        return torch.from_numpy(mask.numpy().reshape(-1).nonzero()[0])
    return mask.flatten().nonzero().flatten()
