"""Data sets in a CSV table: its columns, and how people are numbered."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fusionreid.errors import DatasetFormatError, DatasetNotFoundError
from fusionreid.registry import DATASETS
from fusionreid.utils.csv_table import unescape_formula

from .annotation import ROLES, ReIDAnnotation, ReIDRecord
from .base_reid_dataset import ReIDDataset
from .files import read_text
from .image_listing import why_not_regular

MAX_CAMERAS = 10_000
COLUMNS = ('path', 'person_id', 'camera_id', 'role')
# Of at most four digits in the exponent, beyond which Decimal may refuse it.
_NUMBER = re.compile(r'[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,4})?')


@dataclass(frozen=True)
class _Row:
    line: int
    path: str
    person: str
    camera_id: int
    role: str


@DATASETS.register_module()
class CsvDataset(ReIDDataset):
    """Images listed in a CSV file with the columns ``path,person_id,camera_id,role``.

    - ``path``: the image, relative to ``data_root`` or absolute; each image once.
    - ``person_id``: whole numbers of 0 or more, or any names. ``2``, ``02`` and ``2.0``, as
      spreadsheets write it, are the same number. If one of the ids is no whole number, all are
      names; they are numbered in sorted order, and metainfo ``person_names`` maps back. Then two
      spellings of one number, or of one text (as Unicode normalizes it), are an error.
    - ``camera_id``: 0-based integer, or -1 for an unknown camera.
    - ``role``: ``train``, ``query`` or ``gallery``.

    Further columns are ignored; no two columns have the same name. Of a path or a name that begins
    with an apostrophe and then ``=``, ``+``, ``-`` or ``@``, the apostrophe is dropped, see
    :func:`fusionreid.utils.csv_table.escape_formula`.

    Args:
        data_root: Folder that the paths are relative to.
        ann_file: The CSV file, in UTF-8; relative to ``data_root`` unless absolute.
        split: See :class:`ReIDDataset`.
        **kwargs: As in :class:`ReIDDataset`. ``dataset_name`` defaults to the file's name.
    """

    FIRST_CAMERA = 0
    UNKNOWN_CAMERA_ALLOWED = True

    def __init__(self, data_root: str, ann_file: str, split: str = 'train', **kwargs: Any) -> None:
        super().__init__(data_root, split, ann_file=ann_file, **kwargs)

    def read_annotation(self) -> ReIDAnnotation:
        """Read the table; see :meth:`ReIDDataset.read_annotation`."""
        rows = _read_rows(self.ann_file)
        if not rows:
            raise DatasetFormatError(
                f'{self.ann_file} names its columns, but lists no image: add a row for each image'
            )
        numbers, names = _number_people(rows, self.ann_file)
        records: dict[str, list[ReIDRecord]] = {}
        line_of: dict[str, int] = {}
        for row in rows:
            path = os.path.normpath(os.path.join(self.data_root, row.path))
            if path in line_of:
                raise DatasetFormatError(
                    f"{self.ann_file}, line {row.line}: '{row.path}' is listed already in line "
                    f'{line_of[path]}; each image has one role'
                )
            line_of[path] = row.line
            records.setdefault(row.role, []).append(
                ReIDRecord(path, numbers[row.person], row.camera_id)
            )
        return ReIDAnnotation(
            root=self.data_root,
            records={role: sorted(records[role]) for role in ROLES if role in records},
            sources={role: f"rows of role '{role}' in {self.ann_file}" for role in ROLES},
            metainfo={'person_names': names} if names else {},
            listed={self.ann_file: list(line_of)},
        )


def _read_rows(ann_file: str) -> list[_Row]:
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
            _parse_row(row, f'{ann_file}, line {reader.line_num}', reader.line_num)
            for row in reader
        ]
    except csv.Error as error:
        raise DatasetFormatError(
            f'{ann_file}, line {reader.line_num + 1}: no valid CSV ({error})'
        ) from None


def _parse_row(row: dict[str, Any], where: str, line: int) -> _Row:
    cells = {column: (row[column] or '').strip() for column in COLUMNS}
    empty = [column for column, cell in cells.items() if not cell]
    if empty or None in row:
        problem = f'no {", ".join(empty)}' if empty else 'more cells than columns'
        raise DatasetFormatError(f'{where}: {problem}; expected {",".join(COLUMNS)}')
    if cells['role'] not in ROLES:
        raise DatasetFormatError(
            f'{where}: role must be one of {", ".join(ROLES)}, but is {cells["role"]!r}'
        )
    camera_id = _integer(cells['camera_id'])
    if camera_id is None or camera_id < -1:
        raise DatasetFormatError(
            f'{where}: camera_id must be an integer of 0 or more, or -1 for an unknown camera, '
            f'but is {cells["camera_id"]!r}'
        )
    if camera_id >= MAX_CAMERAS:
        raise DatasetFormatError(
            f'{where}: camera_id {camera_id} is too large: number the cameras from 0 on, the '
            f'model has an embedding for each number up to the largest'
        )
    path, person = (unescape_formula(cells[name]) for name in ('path', 'person_id'))
    return _Row(line, path, person, camera_id, cells['role'])


def _guess_delimiter(header: list[str]) -> str:
    for delimiter, name in ((';', 'semicolons'), ('\t', 'tabs'), ('|', 'vertical bars')):
        if any(delimiter in cell for cell in header):
            return f'; it is separated by {name}: save the table with commas'
    return ''


def _number_people(rows: list[_Row], ann_file: str) -> tuple[dict[str, int], dict[int, str]]:
    line_of: dict[str, int] = {}
    for row in rows:
        line_of.setdefault(row.person, row.line)
    people = sorted(line_of)
    values = {person: _whole_number(person) for person in people}
    numbers = {person: value for person, value in values.items() if value is not None}
    if len(numbers) < len(people):
        _check_spelling(line_of, ann_file)
        return {person: n for n, person in enumerate(people)}, dict(enumerate(people))
    for person, number in numbers.items():
        if not 0 <= number < 1 << 63:
            raise DatasetFormatError(
                f'{ann_file}, line {line_of[person]}: person_id must be 0 or more and below 2^63, '
                f'but is {person}; leave out images of nobody in particular'
            )
    return numbers, {}


def _check_spelling(line_of: dict[str, int], ann_file: str) -> None:
    first: dict[Decimal | str, str] = {}
    for person, line in line_of.items():
        # Characters without a shape of their own (Cf) make no other name.
        text = ''.join(
            character
            for character in unicodedata.normalize('NFKC', person)
            if unicodedata.category(character) != 'Cf'
        )
        key = Decimal(text) if _NUMBER.fullmatch(text) else text
        other = first.setdefault(key, person)
        if other != person:
            raise DatasetFormatError(
                f'{ann_file}, line {line}: person_id {person!r} is written {other!r} in line '
                f'{line_of[other]}: write each person in one way'
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
