"""Folders of images whose names may tell who is in them."""

from __future__ import annotations

import os
from pathlib import Path

from fusionreid.datasets.files import IMAGE_EXTENSIONS
from fusionreid.datasets.market_style_dataset import parse_market_name
from fusionreid.errors import DatasetFormatError, GalleryError
from fusionreid.utils.integers import UNKNOWN


def find_image_files(folder: str | Path) -> list[str]:
    """List the image files in a folder and all folders below it, hidden ones aside.

    Args:
        folder: The folder.

    Returns:
        Absolute paths, sorted.

    Raises:
        GalleryError: If there is no such folder, or no image in it.
    """
    if not Path(folder).is_dir():
        raise GalleryError(f'there is no folder {str(folder)!r}')
    found = []
    for root, folders, names in os.walk(os.path.abspath(folder)):
        folders[:] = [name for name in folders if not name.startswith('.')]
        found += [
            os.path.join(root, name)
            for name in names
            if name.lower().endswith(IMAGE_EXTENSIONS) and not name.startswith('.')
        ]
    if not found:
        raise GalleryError(
            f'there is no image in {folder} (looked for {", ".join(IMAGE_EXTENSIONS)})'
        )
    return sorted(found)


def read_name(path: str | Path) -> tuple[int, int]:
    """Read identity and 0-based camera from a file name such as ``0002_c1s1_000451_03.jpg``.

    Returns:
        Both, -1 where unknown; junk has the identity -1 too.

    Example:
        >>> read_name('query/0002_c1s1_000451_03.jpg'), read_name('someone.jpg')
        ((2, 0), (-1, -1))
    """
    try:
        person, camera = parse_market_name(Path(path).name)
    except DatasetFormatError:
        return UNKNOWN, UNKNOWN
    return max(person, UNKNOWN), max(camera, UNKNOWN)
