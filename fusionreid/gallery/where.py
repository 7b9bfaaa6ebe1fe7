"""Conditions on metadata as a person types them: ``place=gate 3``, ``age>=30``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from fusionreid.errors import GalleryError
from fusionreid.utils.names import tidy_name

from .metadata import Between, Condition, Value, as_number, read_conditions
from .times import TIME, time_of

# A run of signs, so that one that is not known, such as != or ==, is seen as a whole.
_CONDITION = re.compile(r'([^<>=!]+)([<>=!]+)(.*)', re.DOTALL)
_TRUTH = {'true': True, 'false': False}


def read_where(texts: Iterable[str]) -> tuple[Condition, ...]:
    """Read conditions on the columns of the metadata.

    Args:
        texts: ``COLUMN=VALUE``, of which several for one column are alternatives, or
            ``COLUMN>=VALUE`` and ``COLUMN<=VALUE``, which must all hold. Spaces around column and
            value do not count. ``age=30`` finds the number and the text, ``sure=true`` the truth
            value and the text; ends of ranges that are written as numbers are numbers. What is
            compared with the column ``time`` is a time, of UTC where it names no zone.

    Returns:
        The conditions, for :meth:`Gallery.search` and :class:`GalleryFilter`.

    Raises:
        GalleryError: If one cannot be read.

    Example:
        >>> for condition in read_where(['place=gate 3', 'place=yard', 'age>=30']):
        ...     print(condition)
        Condition(column='age', values=None, low=30, high=None)
        Condition(column='place', values=('gate 3', 'yard'), low=None, high=None)
    """
    alternatives: dict[str, list[Value]] = defaultdict(list)
    ranges: list[Condition] = []
    for text in texts:
        match = _CONDITION.fullmatch(text)
        column, sign, value = map(tidy_name, match.groups()) if match else ('', '', '')
        if not column or sign not in ('=', '>=', '<=') or (sign != '=' and not value):
            raise GalleryError(
                f'{text[:80]!r} is no condition on metadata: expected COLUMN=VALUE, COLUMN>=VALUE '
                f'or COLUMN<=VALUE, such as "place=gate 3" or "age>=30"'
            )
        if sign == '=':
            alternatives[column] += _meanings(column, value)
            continue
        end = _meanings(column, value)[-1]
        between = Between(end, None) if sign == '>=' else Between(None, end)
        ranges += read_conditions({column: between})
    return read_conditions({*ranges, *read_conditions(alternatives)})


def _meanings(column: str, text: str) -> list[Value]:
    """What a text can stand for, the most special one last."""
    if column == TIME:
        moment = time_of({TIME: text}, 'the condition')
        assert moment is not None
        return [text, moment.isoformat(timespec='microseconds')]
    if text in _TRUTH:
        return [text, _TRUTH[text]]
    number = as_number(text)
    return [text] if number is None else [text, number]
