"""The table ``path,person_id,camera_id,role``: one reader for training and for the gallery."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fusionreid.errors import DatasetFormatError, DatasetNotFoundError
from fusionreid.utils.csv_table import unescape_formula
from fusionreid.utils.integers import UNKNOWN

from .annotation import ROLES
from .files import read_text
from .image_listing import why_not_regular

MAX_CAMERAS = 10_000
COLUMNS = ('path', 'person_id', 'camera_id', 'role')
# Of at most four digits in the exponent, beyond which Decimal may refuse it.
_NUMBER = re.compile(r'[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,4})?')


@dataclass(frozen=True)
class PeopleRow:
    """An image of a :class:`PeopleTable`.

    Attributes:
        line: Line of the file.
        path: The image, as written in the table.
        img_path: The same, found from the folder that the paths are relative to.
        person: The identity, as written.
        camera: The camera, as written.
        role: ``'train'``, ``'query'`` or ``'gallery'``.
        further: What its further columns say, as written; without empty cells.
    """

    line: int
    path: str
    img_path: str
    person: str
    camera: str
    role: str
    further: dict[str, str]


@dataclass(frozen=True)
class PeopleTable:
    """Who is in which image, and seen by which camera.

    Attributes:
        rows: The images, in the order of the table; each has one row.
        person_numbers: Number of each identity as it is written.
        person_names: Name of each number; empty if the table numbers the identities.
        camera_numbers: 0-based number of each camera as it is written, -1 for an unknown one.
        camera_names: Name of each number; empty if the table numbers the cameras.
    """

    rows: list[PeopleRow]
    person_numbers: dict[str, int]
    person_names: dict[int, str]
    camera_numbers: dict[str, int]
    camera_names: dict[int, str]


def read_people_table(table: str, folder: str) -> PeopleTable:
    """Read a table with the columns ``path,person_id,camera_id,role``.

    Args:
        table: The CSV file, in UTF-8.
        folder: What the paths are relative to.

    Returns:
        What is in it; see :class:`~fusionreid.datasets.CsvDataset` for the rules.

    Raises:
        DatasetNotFoundError: If there is no such file.
        DatasetFormatError: If it is no such table; the message names the line.
    """
    rows = _read_rows(table, folder)
    if not rows:
        raise DatasetFormatError(
            f'{table} names its columns, but lists no image: add a row for each image'
        )
    line_of: dict[str, int] = {}
    for row in rows:
        if row.img_path in line_of:
            raise DatasetFormatError(
                f"{table}, line {row.line}: '{row.path}' is listed already in line "
                f'{line_of[row.img_path]}; each image has one role'
            )
        line_of[row.img_path] = row.line
    return PeopleTable(rows, *_number_people(rows, table), *_number_cameras(rows, table))


def _read_rows(ann_file: str, folder: str) -> list[PeopleRow]:
    if not os.path.isfile(ann_file):
        problem = why_not_regular(ann_file)
        stated = 'does not exist' if problem == 'missing' else f'is {problem}'
        raise DatasetNotFoundError(
            f"CSV file '{ann_file}' ({os.path.abspath(ann_file)}) {stated}. Expected a "
            f'table with the columns {",".join(COLUMNS)}; ann_file is relative to data_root.'
        )
    reader = csv.DictReader(io.StringIO(read_text(ann_file), newline=''), strict=True)
    try:
        found = reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
        if repeated := sorted({name for name in found if name and found.count(name) > 1}):
            raise DatasetFormatError(
                f'{ann_file}, line 1: several columns are called {", ".join(repeated)}: rename or '
                'remove all but one of them'
            )
        missing = [column for column in COLUMNS if column not in found]
        if missing:
            raise DatasetFormatError(
                f'{ann_file} lacks the columns {", ".join(missing)}: the first line must name '
                f'{",".join(COLUMNS)} separated by commas, but is {",".join(found)!r}'
                + _guess_delimiter(found)
            )
        return [
            _parse_row(row, f'{ann_file}, line {reader.line_num}', reader.line_num, folder)
            for row in reader
        ]
    except csv.Error as error:
        raise DatasetFormatError(
            f'{ann_file}, line {reader.line_num + 1}: no valid CSV ({error})'
        ) from None


def _parse_row(row: dict[str, Any], where: str, line: int, folder: str) -> PeopleRow:
    cells = {column: (row[column] or '').strip() for column in COLUMNS}
    empty = [column for column, cell in cells.items() if not cell]
    if empty or None in row:
        problem = f'no {", ".join(empty)}' if empty else 'more cells than columns'
        raise DatasetFormatError(f'{where}: {problem}; expected {",".join(COLUMNS)}')
    if cells['role'] not in ROLES:
        raise DatasetFormatError(
            f'{where}: role must be one of {", ".join(ROLES)}, but is {cells["role"]!r}'
        )
    names = ('path', 'person_id', 'camera_id')
    path, person, camera = (unescape_formula(cells[name]) for name in names)
    img_path = os.path.normpath(os.path.join(folder, path))
    further = {
        column: unescape_formula(cell.strip())
        for column, cell in row.items()
        if column and column not in COLUMNS and cell and cell.strip()
    }
    return PeopleRow(line, path, img_path, person, camera, cells['role'], further)


def _guess_delimiter(header: list[str]) -> str:
    for delimiter, name in ((';', 'semicolons'), ('\t', 'tabs'), ('|', 'vertical bars')):
        if any(delimiter in cell for cell in header):
            return f'; it is separated by {name}: save the table with commas'
    return ''


def _first_lines(rows: list[PeopleRow], column: Callable[[PeopleRow], str]) -> dict[str, int]:
    """The line in which each text of a column stands first."""
    lines: dict[str, int] = {}
    for row in rows:
        lines.setdefault(column(row), row.line)
    return lines


def _number_people(rows: list[PeopleRow], ann_file: str) -> tuple[dict[str, int], dict[int, str]]:
    line_of = _first_lines(rows, lambda row: row.person)
    people = sorted(line_of)
    values = {person: _whole_number(person) for person in people}
    numbers = {person: value for person, value in values.items() if value is not None}
    if len(numbers) < len(people):
        _check_spelling(line_of, 'person_id', ann_file)
        return {person: n for n, person in enumerate(people)}, dict(enumerate(people))
    for person, number in numbers.items():
        if not 0 <= number < 1 << 63:
            raise DatasetFormatError(
                f'{ann_file}, line {line_of[person]}: person_id must be 0 or more and below 2^63, '
                f'but is {person}; leave out images of nobody in particular'
            )
    return numbers, {}


def _number_cameras(rows: list[PeopleRow], ann_file: str) -> tuple[dict[str, int], dict[int, str]]:
    line_of = _first_lines(rows, lambda row: row.camera)
    values = {camera: _integer(camera) for camera in line_of}
    unknown = {camera: UNKNOWN for camera, value in values.items() if value == UNKNOWN}
    names = sorted(camera for camera in line_of if camera not in unknown)
    if names and not any(map(_NUMBER.fullmatch, names)):
        _check_spelling(line_of, 'camera_id', ann_file)
        if len(names) > MAX_CAMERAS:
            raise DatasetFormatError(
                f'{ann_file} names {len(names)} cameras, at most {MAX_CAMERAS} are possible: does '
                f'camera_id hold something else?'
            )
        return {name: n for n, name in enumerate(names)} | unknown, dict(enumerate(names))
    numbers: dict[str, int] = {}
    for camera, number in values.items():
        where = f'{ann_file}, line {line_of[camera]}'
        if number is None or number < UNKNOWN:
            raise DatasetFormatError(
                f'{where}: camera_id must be an integer of 0 or more, or -1 for an unknown camera, '
                f'but is {camera!r}; only a table that gives no camera a number may name them'
            )
        if number >= MAX_CAMERAS:
            raise DatasetFormatError(
                f'{where}: camera_id {number} is too large: number the cameras from 0 on, the '
                f'model has an embedding for each number up to the largest'
            )
        numbers[camera] = number
    return numbers, {}


def _check_spelling(line_of: dict[str, int], column: str, ann_file: str) -> None:
    what = column.removesuffix('_id')
    first: dict[Decimal | str, str] = {}
    for name, line in line_of.items():
        # Characters without a shape of their own (Cf) make no other name.
        text = ''.join(
            character
            for character in unicodedata.normalize('NFKC', name)
            if unicodedata.category(character) != 'Cf'
        )
        key = Decimal(text) if _NUMBER.fullmatch(text) else text
        other = first.setdefault(key, name)
        if other != name:
            raise DatasetFormatError(
                f'{ann_file}, line {line}: {column} {name!r} is written {other!r} in line '
                f'{line_of[other]}: write each {what} in one way'
            )


def _whole_number(text: str) -> int | None:
    """Read ``2``, ``02``, ``2.0`` or ``2e0``; None for what is no whole number."""
    if not _NUMBER.fullmatch(text):
        return None
    value = Decimal(text)
    # Nothing is written out that has more digits than a number may have.
    if value.adjusted() > 20:
        return None if 'e' in text.lower() else 1 << 63
    return int(value) if value == value.to_integral_value() else None


def _integer(text: str) -> int | None:
    # Not int() alone, which also takes '1_2'.
    return int(text) if re.fullmatch(r'-?[0-9]{1,20}', text) else None
