"""Folders of images whose names may tell who is in them."""

from __future__ import annotations

import os
from pathlib import Path

from fusionreid.datasets.image_listing import IMAGE_EXTENSIONS, ImageListing, list_images
from fusionreid.datasets.market_style_dataset import parse_market_name
from fusionreid.errors import DatasetFormatError, GalleryError
from fusionreid.utils.integers import UNKNOWN


def find_image_files(folder: str | Path) -> ImageListing:
    """List the image files in a folder and all folders below it.

    Args:
        folder: The folder.

    Returns:
        Absolute paths, sorted, and what is not taken, see :func:`list_images`.

    Raises:
        GalleryError: If there is no such folder, or no image in it.
    """
    if not Path(folder).is_dir():
        raise GalleryError(f'there is no folder {str(folder)!r}')
    listing = list_images(os.path.abspath(folder), below=True)
    if not listing.paths:
        skipped = ''.join(f'; {line}' for line in listing.summary())
        raise GalleryError(
            f'there is no image in {folder} (looked for {", ".join(IMAGE_EXTENSIONS)}){skipped}'
        )
    return listing


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
