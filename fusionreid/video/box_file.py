"""Boxes of people from a file: what a detector or a tracker has written."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusionreid.errors import DatasetFormatError, DatasetNotFoundError

EXTENSIONS = ('.txt', '.csv')
# Columns of the MOT challenge: further ones are not read.
MOT = ('frame', 'id', 'left', 'top', 'width', 'height', 'score')
NEEDED = ('frame', 'left', 'top')
UNTRACKED = -1


@dataclass(frozen=True)
class Boxes:
    """The boxes of a frame.

    Args:
        corners: Left, top, right and bottom in pixels (N, 4) float64.
        scores: How sure they are (N,) float64.
        tracks: Numbers of the tracks that they belong to (N,) int64; -1 where nobody tracked them.
    """

    corners: np.ndarray
    scores: np.ndarray
    tracks: np.ndarray

    def __len__(self) -> int:
        return len(self.corners)

    def take(self, rows: np.ndarray) -> Boxes:
        """Some of the boxes: a mask, or numbers of rows."""
        return Boxes(self.corners[rows], self.scores[rows], self.tracks[rows])


NO_BOXES = Boxes(np.empty((0, 4)), np.empty(0), np.empty(0, dtype=np.int64))


def find_box_file(boxes: str | Path, video: Path) -> Path:
    """Find the file of a video's boxes.

    Args:
        boxes: The file, or a folder in which it has the video's name and ends in .txt or .csv.
        video: The video.

    Returns:
        The file.

    Raises:
        DatasetNotFoundError: There is none.
    """
    if Path(boxes).is_file():
        return Path(boxes)
    if not Path(boxes).is_dir():
        raise DatasetNotFoundError(f'there is no file or folder of boxes {str(boxes)!r}')
    for extension in EXTENSIONS:
        if (path := Path(boxes) / f'{video.stem}{extension}').is_file():
            return path
    raise DatasetNotFoundError(
        f'{boxes} holds no boxes of {video.name}: expected {video.stem}.txt or {video.stem}.csv'
    )


def read_boxes(path: str | Path) -> dict[int, Boxes]:
    """Read the boxes of a video.

    A file without a header has the columns of the MOT challenge: frame, identity (-1 where nobody
    tracked it), left, top, width, height, score, and others. One with a header has the columns
    ``frame,left,top`` and ``right,bottom`` or ``width,height``, and may have ``id`` and ``score``.
    Frames count from 1, boxes are in pixels.

    Args:
        path: The file.

    Returns:
        Boxes by 0-based frame.

    Raises:
        DatasetFormatError: Columns are missing, or a line does not say what it must.
    """
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
        lines = [line for line in csv.reader(text.splitlines(), skipinitialspace=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetFormatError(f'{path} is no table of boxes: {error}') from error
    if not lines:
        return {}
    columns, has_header = _columns(lines[0], path)
    frames: dict[int, list[list[float]]] = defaultdict(list)
    for number, line in enumerate(lines[has_header:], 1 + has_header):
        frame, row = _read_line(line, columns, f'{path}, line {number}')
        frames[frame - 1].append(row)
    found = {}
    for frame, rows in frames.items():
        table = np.array(rows)
        found[frame] = Boxes(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))
    return found


def _columns(first: Sequence[str], path: str | Path) -> tuple[dict[str, int], bool]:
    """Places of the columns, and whether the first line names them."""
    names = [cell.strip().lower() for cell in first]
    if not any(name.isidentifier() for name in names if name not in ('nan', 'inf')):
        if len(names) < len(MOT) - 1:
            raise DatasetFormatError(
                f'{path} has {len(names)} columns, expected at least the first six of '
                f'{",".join(MOT)}, or a header with frame,left,top,right,bottom'
            )
        return dict(zip(MOT, range(len(names)), strict=False)), False
    columns = {name: place for place, name in enumerate(names)}
    ends = ('width', 'height') if 'right' not in columns else ('right', 'bottom')
    if missing := [name for name in (*NEEDED, *ends) if name not in columns]:
        raise DatasetFormatError(
            f'{path} has the columns {",".join(names)}, but no {" and no ".join(missing)}: '
            f'expected frame,left,top,right,bottom, or frame,left,top,width,height; id and '
            f'score may follow'
        )
    return columns, True


def _read_line(line: Sequence[str], columns: dict[str, int], place: str) -> tuple[int, list[float]]:
    try:
        values = {name: float(line[index]) for name, index in columns.items() if name in _READ}
    except (ValueError, IndexError) as error:
        raise DatasetFormatError(
            f'{place}, {",".join(line)!r}, has not a number in each of the columns: {error}'
        ) from error
    if not np.isfinite(list(values.values())).all():
        raise DatasetFormatError(f'{place}, {",".join(line)!r}, holds a number that is not finite')
    frame = values['frame']
    if frame < 1 or frame != int(frame):
        raise DatasetFormatError(
            f'{place}: frames are counted from 1, got {line[columns["frame"]]}'
        )
    left, top = values['left'], values['top']
    right = values['right'] if 'right' in values else left + values['width']
    bottom = values['bottom'] if 'bottom' in values else top + values['height']
    track = values.get('id', UNTRACKED)
    return int(frame), [left, top, right, bottom, values.get('score', 1.0), max(track, UNTRACKED)]


_READ = frozenset((*MOT, 'right', 'bottom'))
