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

    Raises:
        GalleryError: If it is none, or does not fit into 64 bits.
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
    """Give everything negative, which means unknown, the same number."""
    return [max(value, UNKNOWN) for value in values]
