"""Checks of whole numbers that come from outside, and the number that stands for unknown."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from fusionreid.errors import GalleryError

UNKNOWN = -1
LARGEST = 2**63 - 1


def as_integer(value: Any, name: str) -> int:
    """Take an integer of Python's, NumPy's or PyTorch's; no truth value, text or fraction.

    Args:
        value: The number.
        name: What it is called in the error.

    Returns:
        The number as Python's.

    Raises:
        GalleryError: If it is none, or does not fit into 64 bits.

    Example:
        >>> as_integer(np.int16(7), 'a person id')
        7
    """
    if not isinstance(value, (bool, np.bool_)):
        try:
            number = operator.index(value)
        except TypeError:
            pass
        else:
            if abs(number) <= LARGEST:
                return number
    raise GalleryError(f'{name} must be whole, of 64 bits, got {value!r}')


def as_integers(values: Any, name: str) -> list[int]:
    """Take several integers, see :func:`as_integer`.

    Args:
        values: A sequence, an array or a tensor.
        name: What they are called in the error.

    Returns:
        The numbers as Python's.

    Raises:
        GalleryError: If something is none.
    """
    # A tensor of one number without dimensions calls itself iterable.
    several = isinstance(values, Iterable) and getattr(values, 'ndim', 1) > 0
    if isinstance(values, str) or not several:
        raise GalleryError(f'{name} must be several numbers, got {values!r}')
    # Much faster than one by one out of a tensor.
    plain = values.tolist() if hasattr(values, 'tolist') else values
    return [as_integer(value, name) for value in plain]


def clamp_unknown(values: Iterable[int]) -> list[int]:
    """Give everything negative, which means unknown, the same number.

    Args:
        values: Numbers.

    Returns:
        The numbers, with ``UNKNOWN`` in the place of all negative ones.

    Example:
        >>> clamp_unknown([3, -7, 0])
        [3, -1, 0]
    """
    return [max(value, UNKNOWN) for value in values]
