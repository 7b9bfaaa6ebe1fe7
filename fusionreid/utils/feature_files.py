"""Features and the table of their images in files: one writer and one reader for all that do so."""

from __future__ import annotations

import csv
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fusionreid.errors import UserError

from .csv_table import read_csv, write_csv
from .files import save_tensors, sync, write_durably
from .integers import LARGEST

FEATURES = 'features'
# Features whose values are checked at once.
BLOCK_ROWS = 8192
LENGTH_TOLERANCE = 1e-2


def check_text(text: str, error: type[UserError]) -> None:
    """Check that an id or a path comes back from the table that it is written to.

    Args:
        text: The id or path.
        error: What to raise.

    Raises:
        UserError: It holds a zero byte or what UTF-8 cannot, or is too long; raised as ``error``.
    """
    try:
        same = text.encode('utf-8', 'surrogateescape').decode('utf-8', 'surrogateescape') == text
    except UnicodeEncodeError:
        same = False
    if not same or '\0' in text or len(text) > csv.field_size_limit():
        raise error(f'an id or path cannot be saved in a CSV file: {text[:80]!r}')


def write_table(path: Path, columns: Mapping[str, Sequence[str] | Sequence[int]]) -> None:
    """Write columns as a CSV file, and wait until it is on the disk.

    Args:
        path: The file.
        columns: Columns of equal length by name; texts that :func:`check_text` accepts.
    """
    rows = zip(*columns.values(), strict=True)
    write_durably(path, write_csv([tuple(columns), *rows]))


def read_table(
    path: Path, columns: Mapping[str, type], error: type[UserError]
) -> dict[str, list[Any]]:
    """Read what :func:`write_table` wrote.

    Args:
        path: The file.
        columns: The columns that it must have, in order, each ``str`` or ``int``.
        error: What to raise.

    Returns:
        The columns by name.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: Other columns, a row of another length, or no integer where one must be; raised
            as ``error``.
    """
    check_regular(path, error)
    try:
        rows = list(read_csv(path.read_bytes()))
    except csv.Error as reason:
        raise error(f'{path} is damaged: {reason}') from reason
    head = rows[0] if rows else []
    if head != list(columns):
        missing = [name for name in columns if name not in head]
        raise error(
            f'{path} has the columns {",".join(head)!r:.200}, expected {",".join(columns)!r}'
            + (f': {", ".join(missing)} missing' if missing else '')
        )
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(head):
            raise error(f'{path}, row {number}: {len(row)} fields, expected {len(head)}')
    found: dict[str, list[Any]] = {}
    for place, (name, kind) in enumerate(columns.items()):
        cells = [row[place] for row in rows[1:]]
        found[name] = cells if kind is str else _as_integers(cells, name, path, error)
    return found


def _as_integers(cells: list[str], name: str, path: Path, error: type[UserError]) -> list[int]:
    numbers = []
    for row, cell in enumerate(cells, 1):
        try:
            number = int(cell)
        except ValueError:
            number = LARGEST + 1
        if abs(number) > LARGEST:
            raise error(f'{path}, row {row}: {name} must be whole, of 64 bits, got {cell!r:.80}')
        numbers.append(number)
    return numbers


def write_features(path: Path, features: Tensor) -> None:
    """Write features as a safetensors file, and wait until it is on the disk.

    Args:
        path: The file, in an existing folder.
        features: (N, D), on any device; as codes of any type.

    Raises:
        OSError: It cannot be written, for example because the disk is full.
    """
    save_tensors(path, {FEATURES: features})
    sync(path)


def read_features(
    path: Path,
    rows: int,
    width: int,
    error: type[UserError],
    normalized: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Map the features that :func:`write_features` wrote.

    Args:
        path: The file.
        rows: How many features there must be.
        width: How wide they must be.
        error: What to raise.
        normalized: Whether each must have length 1.
        dtype: What type they must have.

    Returns:
        (rows, width) of that type, mapped from the file.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: It is damaged, holds other features, a NaN or infinite value, or one of another
            length; raised as ``error``.
    """
    check_regular(path, error)
    try:
        with safe_open(path, framework='pt') as file:
            features = file.get_tensor(FEATURES)
    except SafetensorError as reason:
        raise error(f'{path} is damaged: {reason}') from reason
    if features.dtype != dtype or features.shape != (rows, width):
        raise error(
            f'{path} holds {features.dtype} of shape {tuple(features.shape)}, expected '
            f'{str(dtype)[6:]} of shape ({rows}, {width}): a row for each of the '
            f'{rows} images'
        )
    start = 0
    for block in features.split(BLOCK_ROWS):
        if normalized:  # a NaN or infinite value has no length near 1
            good = (torch.linalg.vector_norm(block.float(), dim=1) - 1).abs() < LENGTH_TOLERANCE
        else:
            good = block.isfinite().all(dim=1)
        bad = (~good).nonzero().flatten().tolist()
        if bad:
            what = 'is not of length 1' if normalized else 'holds a NaN or infinite value'
            raise error(f'{path}: row {start + bad[0] + 1} {what}')
        start += len(block)
    return features


def check_regular(path: Path, error: type[UserError]) -> None:
    """Check that something is a file, since opening a pipe would wait for a writer.

    Args:
        path: What is there.
        error: What to raise.

    Raises:
        FileNotFoundError: There is nothing.
        UserError: It is no file; raised as ``error``.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise error(f'{path} is no file')
