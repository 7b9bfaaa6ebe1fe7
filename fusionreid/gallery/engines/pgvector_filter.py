"""A filter as a condition of SQL; values are parameters, never text of the statement."""

from __future__ import annotations

import json
from typing import Any

from ..filter import GalleryFilter
from ..metadata import Condition, Value


def as_condition(wanted: GalleryFilter) -> tuple[str, list[Any]]:
    """Write a filter in SQL.

    Args:
        wanted: Which items may be found, by numbers.

    Returns:
        A condition on the table of items, and the values of its parameters.

    Example:
        >>> as_condition(GalleryFilter(cameras=[1, 2], exclude_ids=['a']))
        ('camera_id = ANY(%s::bigint[]) AND item_id <> ALL(%s::text[])', [[1, 2], ['a']])
    """
    parts: list[str] = []
    values: list[Any] = []
    for column, kind, only, never in (
        ('camera_id', 'bigint', wanted.cameras, wanted.exclude_cameras),
        ('person_id', 'bigint', wanted.person_ids, wanted.exclude_person_ids),
        ('item_id', 'text', wanted.ids, wanted.exclude_ids),
    ):
        if only is not None:
            parts.append(f'{column} = ANY(%s::{kind}[])')
            values.append(_known(only))
        if never is not None:
            parts.append(f'{column} <> ALL(%s::{kind}[])')
            values.append(_known(never))
    for condition in wanted.conditions:
        text, more = _of_metadata(condition)
        parts.append(text)
        values += more
    return ' AND '.join(parts) or 'true', values


def _known(values: Any) -> list[Any]:
    """Leave out texts that no item can have, since the database cannot read them."""
    return [value for value in values if not isinstance(value, str) or is_storable(value)]


def is_storable(text: str) -> bool:
    """Tell whether PostgreSQL can hold a text: Unicode without a zero byte."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return '\0' not in text


def _of_metadata(condition: Condition) -> tuple[str, list[Any]]:
    if condition.values is not None:
        # Containment, which the index on the column knows.
        choices = [_json({condition.column: value}) for value in condition.values]
        return f'({" OR ".join(["metadata @> %s::jsonb"] * len(choices)) or "false"})', choices
    parts: list[str] = []
    values: list[Any] = []
    for sign, end in (('>=', condition.low), ('<=', condition.high)):
        if end is None:
            continue
        kind = 'string' if isinstance(end, str) else 'number'
        parts.append('jsonb_typeof(metadata -> %s::text) = %s::text')
        values += [condition.column, kind]
        if kind == 'string':
            parts.append(f'(metadata ->> %s::text) COLLATE "C" {sign} %s::text')
            values += [condition.column, end]
        else:
            parts.append(f'metadata -> %s::text {sign} %s::jsonb')
            values += [condition.column, _json(end)]
    return f'({" AND ".join(parts)})', values


def _json(value: dict[str, Value] | Value) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
