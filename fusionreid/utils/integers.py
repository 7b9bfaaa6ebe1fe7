"""Checks of whole numbers that come from outside, and the number that stands for unknown."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

UNKNOWN = -1
LARGEST = 2**63 - 1


def as_integer(value: Any, name: str, error: type[Exception] = ValueError) -> int:
    """Take an integer of Python's, NumPy's or PyTorch's; no truth value, text or fraction.

    Args:
        value: The number.
        name: What the message of the error calls it.
        error: Exception to raise, for callers that promise a kind of their own.

    Returns:
        The number as Python's.

    Raises:
        ValueError: If it is none, or does not fit into 64 bits; ``error`` if that is given.

    Example:
        >>> as_integer(np.int16(7), 'a person id')
        7
        >>> as_integer(7.0, 'a person id')
        Traceback (most recent call last):
        ValueError: a person id must be whole, of 64 bits, got 7.0
    """
    if not isinstance(value, (bool, np.bool_)):
        try:
            number = operator.index(value)
        except TypeError:
            pass
        else:
            if abs(number) <= LARGEST:
                return number
    raise error(f'{name} must be whole, of 64 bits, got {value!r}')


def are_several(values: Any) -> bool:
    """Tell several values from one; a text is one.

    Args:
        values: Anything.

    Returns:
        Whether it is a sequence, an array or a tensor with dimensions, or another iterable.

    Example:
        >>> are_several([3]), are_several(3), are_several('ab'), are_several(np.array(3))
        (True, False, False, False)
    """
    # A tensor of one number without dimensions calls itself iterable.
    several = isinstance(values, Iterable) and getattr(values, 'ndim', 1) > 0
    return several and not isinstance(values, str)


def as_integers(values: Any, name: str, error: type[Exception] = ValueError) -> list[int]:
    """Take several integers, see :func:`as_integer`.

    Args:
        values: A sequence, an array or a tensor.
        name: What the message of the error calls them.
        error: Exception to raise.

    Returns:
        The numbers as Python's.

    Raises:
        ValueError: If something is none; ``error`` if that is given.
    """
    if not are_several(values):
        raise error(f'{name} must be several numbers, got {values!r}')
    # Much faster than one by one out of a tensor.
    listed = values.tolist() if hasattr(values, 'tolist') else values
    return [as_integer(value, name, error) for value in listed]


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
