"""Parts of a sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar('Item')


def batched(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    """Cut a sequence into parts, as ``itertools.batched`` of Python 3.12 does.

    Args:
        items: The sequence.
        size: Items of a part, from 1 on; the last part may have fewer.

    Yields:
        The parts, in order.

    Example:
        >>> list(batched('abcde', 2))
        [['a', 'b'], ['c', 'd'], ['e']]
    """
    for first in range(0, len(items), size):
        yield list(items[first : first + size])
