"""Listing, checking and reading the files that a data set consists of."""

from __future__ import annotations

import os
from collections.abc import Iterable

from fusionreid.errors import DatasetFormatError, DatasetNotFoundError

IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')


def list_image_files(folder: str) -> list[str]:
    """List the image files that lie directly in a folder.

    Args:
        folder: An existing folder.

    Returns:
        Sorted file names. Hidden files, sub-folders and files without an image's
        extension (``Thumbs.db``) are left out.
    """
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if entry.name.lower().endswith(IMAGE_EXTENSIONS)
            and not entry.name.startswith('.')
            and entry.is_file()
        )


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
        first = ''.join(
            f'\n  {path}' + (' (a folder)' if os.path.isdir(path) else '') for path in missing[:5]
        )
        more = '\n  ...' if len(missing) > 5 else ''
        raise DatasetNotFoundError(
            f"{len(missing)} of the {total} images listed in '{listed_in}' do not exist as files:"
            f'{first}{more}\nUnpack the data set completely, or correct the list.'
        )


def _file_names(folder: str) -> set[str]:
    if not os.path.isdir(folder):
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_file()}


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
