"""Counts the entries of each row that lie before thresholds, without sorting their indices."""

from __future__ import annotations

import torch
from torch import Tensor


def count_around(keys: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Count, in each row, the entries below ``low`` and those up to and including ``high``.

    Args:
        keys: (R, G), float32 or float64, without NaN.
        low: Thresholds of shape (R, W), same dtype.
        high: Thresholds of shape (R, W), same dtype.

    Returns:
        Both counts, (R, W) int64 each.

    Example:
        >>> keys = torch.tensor([[0.3, 0.1, 0.2, 0.2]])
        >>> count_around(keys, torch.tensor([[0.2]]), torch.tensor([[0.2]]))
        (tensor([[1]]), tensor([[3]]))
    """
    if keys.device.type == 'cpu':
        return count_by_sorting(keys, low, high)
    return count_by_buckets(keys, low, high)


def count_by_sorting(keys: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Count as :func:`count_around` by sorting the values of a copy; the faster way on a CPU.

    NumPy's sort of bare values is vectorized; ``torch.sort``, which carries an index with every
    value, takes some 15 times as long.

    Args:
        keys: (R, G), float32 or float64, without NaN.
        low: Thresholds of shape (R, W), same dtype.
        high: Thresholds of shape (R, W), same dtype.

    Returns:
        Entries below ``low`` and entries up to and including ``high``, (R, W) int64 each.
    """
    ordered = keys.clone(memory_format=torch.contiguous_format)
    ordered.numpy().sort(axis=1)
    return (
        torch.searchsorted(ordered, low.contiguous()),
        torch.searchsorted(ordered, high.contiguous(), right=True),
    )


def count_by_buckets(keys: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Count as :func:`count_around` by finding each key's place among its row's thresholds.

    This is the way for a GPU: a binary search among the few thresholds costs little more than
    reading the key, whereas sorting all keys, or one pass for each threshold, reads them again and
    again.

    Args:
        keys: (R, G), float32 or float64, without NaN.
        low: Thresholds of shape (R, W), same dtype.
        high: Thresholds of shape (R, W), same dtype.

    Returns:
        Entries below ``low`` and entries up to and including ``high``, (R, W) int64 each.
    """
    return _counts_until(keys, low, right=True), _counts_until(keys, high, right=False)


def _counts_until(keys: Tensor, thresholds: Tensor, right: bool) -> Tensor:
    """Keys below each threshold (``right``), or up to and including it; (R, W) int64."""
    ordered, order = thresholds.sort(dim=1)
    # How many thresholds the key is not below, or is beyond; a threshold counts the keys for which
    # that is less than the threshold's own number.
    bucket = torch.searchsorted(ordered, keys, right=right)
    held = bucket.new_zeros(len(keys), ordered.shape[1] + 1)
    held.scatter_add_(1, bucket, held.new_ones(()).expand_as(bucket))
    return torch.empty_like(order).scatter_(1, order, held[:, :-1].cumsum(1))
