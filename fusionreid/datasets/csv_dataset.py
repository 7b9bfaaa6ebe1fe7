"""Data sets in a CSV table: its columns, and how people are numbered."""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import dataclass
from typing import Any

from fusionreid.errors import DatasetFormatError, DatasetNotFoundError
from fusionreid.registry import DATASETS

from .annotation import ROLES, ReIDAnnotation, ReIDRecord
from .base_reid_dataset import ReIDDataset
from .files import check_files_exist, read_text

MAX_CAMERAS = 10_000
COLUMNS = ('path', 'person_id', 'camera_id', 'role')


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
    - ``person_id``: integers of 0 or more, or any names. If one of them is not an integer, all are
      names; they are numbered in sorted order, and metainfo ``person_names`` maps back.
    - ``camera_id``: 0-based integer, or -1 for an unknown camera.
    - ``role``: ``train``, ``query`` or ``gallery``.

    Further columns are ignored.

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
        check_files_exist(line_of, self.ann_file)
        return ReIDAnnotation(
            root=self.data_root,
            records={role: sorted(records[role]) for role in ROLES if role in records},
            sources={role: f"rows of role '{role}' in {self.ann_file}" for role in ROLES},
            metainfo={'person_names': names} if names else {},
        )


def _read_rows(ann_file: str) -> list[_Row]:
    if not os.path.isfile(ann_file):
        raise DatasetNotFoundError(
            f"CSV file '{ann_file}' ({os.path.abspath(ann_file)}) does not exist. Expected a "
            f'table with the columns {",".join(COLUMNS)}; ann_file is relative to data_root.'
        )
    reader = csv.DictReader(io.StringIO(read_text(ann_file), newline=''))
    try:
        found = reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
        missing = [column for column in COLUMNS if column not in found]
        if missing:
            raise DatasetFormatError(
                f'{ann_file} lacks the columns {", ".join(missing)}: the first line must name '
                f'{",".join(COLUMNS)} separated by commas, but is {",".join(found)!r}'
            )
        return [
            _parse_row(row, f'{ann_file}, line {reader.line_num}', reader.line_num)
            for row in reader
        ]
    except csv.Error as error:
        raise DatasetFormatError(
            f'{ann_file}, line {reader.line_num}: no valid CSV ({error})'
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
    return _Row(line, cells['path'], cells['person_id'], camera_id, cells['role'])


def _number_people(rows: list[_Row], ann_file: str) -> tuple[dict[str, int], dict[int, str]]:
    people = sorted({row.person for row in rows})
    integers = {person: _integer(person) for person in people}
    numbers = {person: number for person, number in integers.items() if number is not None}
    if len(numbers) < len(people):
        return {person: n for n, person in enumerate(people)}, dict(enumerate(people))
    for row in rows:
        if not 0 <= numbers[row.person] < 1 << 63:
            raise DatasetFormatError(
                f'{ann_file}, line {row.line}: person_id must be 0 or more and below 2^63, but is '
                f'{row.person}; leave out images of nobody in particular'
            )
    return numbers, {}


def _integer(text: str) -> int | None:
    # Not int() alone, which also takes '1_2'.
    return int(text) if re.fullmatch(r'-?[0-9]+', text) else None
