"""Checking and reading the files that a data set consists of."""

from __future__ import annotations

import os
from collections.abc import Iterable

from fusionreid.errors import DatasetFormatError, DatasetNotFoundError

from .image_listing import why_not_regular

SHOWN = 5  # missing files that a message names
# Bytes of an image file; the largest image that Pillow decodes takes less without compression.
LARGEST = 1 << 30


def check_files_exist(paths: Iterable[str], listed_in: str) -> None:
    """Check that every listed file exists, looking into each folder once.

    Args:
        paths: Files.
        listed_in: The list that names them, for the message.

    Raises:
        DatasetNotFoundError: With the number of missing files and the first five.
    """
    content: dict[str, set[str]] = {}
    missing: list[str] = []
    total = 0
    for path in paths:
        total += 1
        folder, name = os.path.split(os.path.abspath(path))
        if folder not in content:
            content[folder] = _file_names(folder)
        if name not in content[folder]:
            missing.append(path)
    if missing:
        named = [f"'{path}' ({why_not_regular(path) or 'missing'})" for path in missing[:SHOWN]]
        raise DatasetNotFoundError(
            f"{len(missing)} of the {total} images listed in '{listed_in}' do not exist as files: "
            f'{", ".join(named)}{", ..." if len(missing) > SHOWN else ""}. Unpack the data set '
            'completely, or correct the list.'
        )


def _file_names(folder: str) -> set[str]:
    try:
        entries = os.scandir(folder)
    except (OSError, ValueError):  # missing, or not readable
        return set()
    with entries:
        return {
            entry.name
            for entry in entries
            # The folder's own word spares a look at each file.
            if entry.is_file(follow_symlinks=False) or why_not_regular(entry.path) is None
        }


def read_regular(path: str) -> bytearray:
    """Read a regular file whole. Nothing else is opened, as a named pipe would wait for its writer.

    Args:
        path: The file, or a link to it.

    Returns:
        Its content.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no regular file, or larger than ``LARGEST``.
    """
    if (problem := why_not_regular(path)) not in (None, 'missing'):
        raise ValueError(f'it is {problem}, not a file')
    # What has become a pipe meanwhile is opened without waiting, and empty.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0))
    with open(descriptor, 'rb') as file:
        if (size := os.fstat(descriptor).st_size) > LARGEST:
            raise ValueError(f'its {size} bytes are more than {LARGEST}')
        return bytearray(file.read())


def read_text(path: str) -> str:
    """Read a list or table; a byte-order mark, which spreadsheet programs put first, is dropped.

    Args:
        path: The file.

    Returns:
        Its text.

    Raises:
        DatasetFormatError: If it is not UTF-8; it names the file and the line.
    """
    with open(path, 'rb') as file:
        content = file.read()
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        raise DatasetFormatError(
            f'{path}, line {line}: not UTF-8 text ({error.reason} at byte {error.start}); save the '
            'file as UTF-8'
        ) from None
