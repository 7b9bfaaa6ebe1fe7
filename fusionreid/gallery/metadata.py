"""What is known about an item besides its identity and camera, and conditions on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from fusionreid.errors import GalleryError
from fusionreid.utils.integers import LARGEST, are_several
from fusionreid.utils.names import is_number

Value = str | int | float | bool
Metadata = dict[str, Value]
# Of items about which nothing else is known; never changed.
NOTHING: Metadata = {}
# Of a number that is read, with zeros before it.
MOST_DIGITS = 30


@dataclass(frozen=True)
class Between:
    """A range of metadata, with both of its ends.

    Args:
        low: Least value: a number, a text or a :class:`~datetime.datetime`; None for no end.
        high: Largest value.

    Example:
        >>> Between(5, None)
        Between(low=5, high=None)
    """

    low: Any = None
    high: Any = None


@dataclass(frozen=True)
class Condition:
    """What a metadata column must be: one of some values, or within a range.

    Numbers are compared with numbers, texts with texts (by code points), truth values with truth
    values. An item that lacks the column does not pass.

    Args:
        column: Name of the column.
        values: Values that pass; None for a range.
        low: Least value of a range; None for no end.
        high: Largest value of a range.
    """

    column: str
    values: tuple[Value, ...] | None = None
    low: Value | None = None
    high: Value | None = None

    def passes(self, metadata: Mapping[str, Value]) -> bool:
        """Tell whether an item passes.

        Args:
            metadata: What is known about it.
        """
        if self.column not in metadata:
            return False
        value = metadata[self.column]
        if self.values is not None:
            return any(_kind(value) is _kind(one) and value == one for one in self.values)
        # Ends are of one kind, so that the comparisons are between numbers or between texts.
        ends = [end for end in (self.low, self.high) if end is not None]
        if any(_kind(end) is not _kind(value) for end in ends):
            return False
        above = self.low is None or value >= self.low  # type: ignore[operator]
        return above and (self.high is None or value <= self.high)  # type: ignore[operator]


def check_metadata(records: Any, count: int) -> list[Metadata]:
    """Check what is said about items.

    Args:
        records: A mapping for each item, of names to texts, finite numbers, truth values and
            times; a :class:`~datetime.datetime` is kept as UTC in ISO 8601.
        count: Number of items.

    Returns:
        The records as JSON can hold them.

    Raises:
        GalleryError: If they are not as many, or a name or a value is none that can be kept.

    Example:
        >>> check_metadata([{'site': 'north'}, {}], 2)
        [{'site': 'north'}, {}]
    """
    if records is None:
        return [NOTHING] * count
    if isinstance(records, (str, Mapping)) or not hasattr(records, '__len__'):
        raise GalleryError(f'metadata must be a sequence, got {type(records).__name__}')
    if len(records) != count:
        raise GalleryError(f'got {len(records)} metadata for {count} items')
    checked = []
    for record in records:
        if record is None:
            checked.append(NOTHING)
            continue
        if not isinstance(record, Mapping):
            raise GalleryError(f'metadata of an item must be a mapping, got {record!r:.80}')
        checked.append(
            {_check_name(name): _check_value(value, name) for name, value in record.items()}
        )
    return checked


def read_conditions(given: Mapping[str, Any] | Iterable[Condition]) -> tuple[Condition, ...]:
    """Read what metadata must be.

    Args:
        given: For each column a value, several of them, or a :class:`Between`; or conditions that
            were read before.

    Returns:
        The conditions, sorted and each once.

    Raises:
        GalleryError: If a name or a value is none that metadata can have.

    Example:
        >>> read_conditions({'site': 'north'})
        (Condition(column='site', values=('north',), low=None, high=None),)
    """
    if isinstance(given, Mapping):
        conditions = [_read_condition(name, value) for name, value in given.items()]
    elif isinstance(given, str) or not all(isinstance(one, Condition) for one in given):
        raise GalleryError(f'metadata must be a mapping of columns to values, got {given!r:.80}')
    else:
        conditions = list(given)
    return _each_once(conditions)


def as_number(text: str) -> int | float | None:
    """Read a number that metadata can hold.

    Args:
        text: Digits, with a sign or a point or without.

    Returns:
        The number; None where the text is none, or one beyond 64 bits.

    Example:
        >>> as_number('30'), as_number('-1.5'), as_number('gate 3'), as_number('1' * 40)
        (30, -1.5, None, None)
    """
    if not is_number(text):
        return None
    if not text.lstrip('+-').isdecimal():
        return float(text) if math.isfinite(float(text)) else None
    # Python itself refuses to read thousands of digits.
    return int(text) if len(text) <= MOST_DIGITS and abs(int(text)) <= LARGEST else None


def _read_condition(name: Any, wanted: Any) -> Condition:
    column = _check_name(name)
    if isinstance(wanted, Between):
        ends = [
            None if end is None else _check_value(end, name) for end in (wanted.low, wanted.high)
        ]
        kinds = {_kind(end) for end in ends if end is not None}
        if len(kinds) != 1 or bool in kinds:
            raise GalleryError(
                f'a range of the metadata column {column!r} needs an end, and both must be numbers '
                f'or texts, got {wanted.low!r} to {wanted.high!r}'
            )
        return Condition(column, None, *ends)
    values = list(wanted) if are_several(wanted) else [wanted]
    return Condition(column, _each_once([_check_value(value, name) for value in values]))


def _each_once(things: Iterable[Any]) -> tuple[Any, ...]:
    """Sort and drop repetitions by what is written: to Python, 1 and True are equal."""
    written = {repr(thing): thing for thing in things}
    return tuple(written[text] for text in sorted(written))


def _kind(value: Value) -> type:
    """Bool, str or float: to Python a truth value is an integer, and an integer no float."""
    return float if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value)


def _check_name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise GalleryError(f'a metadata column has a name, got {name!r:.80}')
    _check_unicode(name)
    return name


def _check_value(value: Any, name: Any) -> Value:
    if hasattr(value, 'item') and not hasattr(value, '__len__'):  # NumPy's scalars
        value = value.item()
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise GalleryError(f'the metadata column {name!r} holds {value}: say its time zone')
        return value.astimezone(timezone.utc).isoformat(timespec='microseconds')
    if isinstance(value, str):
        _check_unicode(value)
        return value
    is_number = isinstance(value, (int, float))
    if not is_number or not math.isfinite(value) or (type(value) is int and abs(value) > LARGEST):
        raise GalleryError(
            f'the metadata column {name!r} must hold a text, a finite number of at most 64 bits, a '
            f'truth value or a time, got {value!r:.80}'
        )
    return value


def _check_unicode(text: str) -> None:
    if any(character == '\0' or '\ud800' <= character <= '\udfff' for character in text):
        raise GalleryError(f'metadata must be Unicode without zero bytes, got {text[:80]!r}')
