"""Metadata of images from the further columns of a table."""

from __future__ import annotations

from collections.abc import Sequence

from fusionreid.datasets.people_table import PeopleRow
from fusionreid.errors import GalleryError
from fusionreid.utils.names import tidy_name

from .metadata import Metadata, Value, as_number
from .times import TIME, time_of


def read_columns(rows: Sequence[PeopleRow], table: str) -> tuple[list[Metadata], list[str]]:
    """Read what a table says of its images besides who they are.

    A column all of whose cells are numbers holds numbers, each other one texts. The column ``time``
    holds times.

    Args:
        rows: Rows of the table.
        table: Its file, for messages.

    Returns:
        Metadata of each row, and what is not taken, in a line each.
    """
    columns = {
        tidy_name(column): [row.further.get(column) for row in rows] for column in _names(rows)
    }
    records: list[Metadata] = [{} for _ in rows]
    notes = []
    for column, cells in columns.items():
        try:
            values = _read_column(column, cells)
        except GalleryError as error:
            notes.append(f'{table}: the column {column} is left out: {error}')
            continue
        for record, value in zip(records, values, strict=True):
            if value is not None:
                record[column] = value
    return records, notes


def _names(rows: Sequence[PeopleRow]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row.further))


def _read_column(column: str, cells: Sequence[str | None]) -> Sequence[Value | None]:
    if column == TIME:
        moments = [None if cell is None else time_of({TIME: cell}, 'a row') for cell in cells]
        return [
            None if moment is None else moment.isoformat(timespec='microseconds')
            for moment in moments
        ]
    numbers = [None if cell is None else as_number(cell) for cell in cells]
    if all(number is not None or cell is None for number, cell in zip(numbers, cells, strict=True)):
        return numbers
    return [None if cell is None else tidy_name(cell) for cell in cells]
