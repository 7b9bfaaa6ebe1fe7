"""Looking around on disk, with errors that say what was looked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from .errors import DatasetFormatError, DatasetNotFoundError

IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')


def candidate_roots(data_root: str, folder_names: Sequence[str]) -> list[str]:
    """List the existing folders that ``data_root`` may mean.

    Args:
        data_root (str): The data set's folder, or a folder that contains it under one of
            ``folder_names``. When it does not exist but its last part is one of these names, the
            other names are looked for beside it: ``data/market1501`` then finds
            ``data/Market-1501-v15.09.15``.
        folder_names (Sequence[str]): Official and short names of the data set's folder.

    Returns:
        list[str]: Existing folders, ``data_root`` itself first; each once, even if links give it
        several names.
    """
    data_root = os.path.normpath(data_root)
    if os.path.isdir(data_root):
        paths = [data_root, *(os.path.join(data_root, name) for name in folder_names)]
    elif os.path.basename(data_root) in folder_names:
        parent = os.path.dirname(data_root)
        paths = [os.path.join(parent, name) for name in folder_names]
    else:
        paths = []
    roots: list[str] = []
    for path in paths:
        if os.path.isdir(path) and not any(os.path.samefile(path, root) for root in roots):
            roots.append(path)
    return roots


def layout_error(
    dataset_name: str, data_root: str, folder_names: Sequence[str], layout: str
) -> DatasetNotFoundError:
    """Build the error for a root that is missing or holds something else.

    Args:
        dataset_name (str): Such as ``'Market-1501'``.
        data_root (str): As given by the user.
        folder_names (Sequence[str]): Names under which a parent folder may hold the data set.
        layout (str): What the data set's folder must contain.

    Returns:
        DatasetNotFoundError: It names the path, what was expected, what is there and what to do.
    """
    where = os.path.abspath(data_root)
    if not os.path.exists(data_root):
        problem = f"{dataset_name}: data_root '{data_root}' ({where}) does not exist."
    elif not os.path.isdir(data_root):
        problem = f"{dataset_name}: data_root '{data_root}' ({where}) is a file, not a folder."
    else:
        entries = sorted(os.listdir(data_root))
        found = ', '.join(entries[:8]) + (' ...' if len(entries) > 8 else '')
        problem = (
            f"{dataset_name}: data_root '{data_root}' ({where}) is not laid out as expected; "
            f'it contains: {found or "nothing"}.'
        )
    expected = f'Expected a folder with {layout}'
    if folder_names:
        expected += f', or its parent (folder name one of {", ".join(folder_names)})'
    return DatasetNotFoundError(
        f'{problem} {expected}. Put or link the data there, or set data_root of the data sets in '
        f'the config to where they are.'
    )


def list_image_files(folder: str) -> list[str]:
    """List the image files that lie directly in a folder.

    Args:
        folder (str): An existing folder.

    Returns:
        list[str]: Sorted file names. Hidden files, sub-folders and files without an image's
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
        paths (Iterable[str]): Files.
        listed_in (str): The list that names them, for the message.

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
        path (str): The file.

    Returns:
        str: Its text.

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
