"""When and by which camera a photo was taken: from a data set's file names, or from a table."""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path

from fusionreid.errors import DatasetFormatError, DatasetNotFoundError
from fusionreid.utils.csv_table import unescape_formula

from .files import read_text
from .image_listing import why_not_regular

COLUMNS = ('path', 'time')
# Market-1501, DukeMTMC-reID and MSMT17: camera, and sequence or day with the number of the frame.
_NAMES = (
    re.compile(r'(?:-1|\d+)_(c\d+)(s\d+_\d+)_\d+\D*'),
    re.compile(r'\d+_(c\d+)_(f\d+)'),
    re.compile(r'\d+_\d+_(\d+)_(\d+[a-z]+_\d+)_\d+\D*'),
)


def read_moment(path: str | Path) -> tuple[str, str] | None:
    """Read camera and frame from a file name of Market-1501, DukeMTMC-reID or MSMT17.

    Args:
        path: The image.

    Returns:
        Camera and frame as the name writes them; None if it does not tell them.

    Example:
        >>> read_moment('query/0002_c1s1_000451_03.jpg'), read_moment('0001_c2_f0046182.jpg')
        (('c1', 's1_000451'), ('c2', 'f0046182'))
        >>> read_moment('0000_000_01_0303morning_0008_0.jpg'), read_moment('0002_c1_best.jpg')
        (('01', '0303morning_0008'), None)
    """
    stem = Path(path).stem
    match = next((found for name in _NAMES if (found := name.fullmatch(stem))), None)
    return (match[1], match[2]) if match else None


def read_times(table: str | Path) -> dict[str, str]:
    """Read a CSV table that says when photos were taken.

    It has the columns ``path`` and ``time``, in UTF-8; others are ignored. A time is any text:
    photos with the same text were taken at the same time. An empty one is unknown.

    Args:
        table: The CSV file.

    Returns:
        Time by path, as they are written.

    Raises:
        DatasetNotFoundError: If there is no such file.
        DatasetFormatError: If it is no such table, or gives a photo two times.
    """
    if problem := why_not_regular(table):
        stated = 'does not exist' if problem == 'missing' else f'is {problem}'
        raise DatasetNotFoundError(f'the table of times {str(table)!r} {stated}')
    reader = csv.DictReader(io.StringIO(read_text(os.fspath(table)), newline=''), strict=True)
    times: dict[str, str] = {}
    try:
        found = reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
        if any(found.count(column) != 1 for column in COLUMNS):
            raise DatasetFormatError(
                f'{table}: the first line must name each of the columns {", ".join(COLUMNS)} once, '
                f'but is {",".join(found)!r:.200}'
            )
        for row in reader:
            path, time = (unescape_formula((row[column] or '').strip()) for column in COLUMNS)
            where = f'{table}, line {reader.line_num}'
            if not path:
                raise DatasetFormatError(f'{where}: no path')
            if times.setdefault(path, time) != time:
                raise DatasetFormatError(
                    f'{where}: {path} was taken at {time!r}, but at {times[path]!r} in an earlier '
                    f'line: keep one of them'
                )
    except csv.Error as error:
        raise DatasetFormatError(
            f'{table}, line {reader.line_num + 1}: no valid CSV ({error})'
        ) from None
    return times
