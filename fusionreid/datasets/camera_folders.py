"""Reading data sets that have a folder of images for each camera."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from .annotation import ReIDRecord
from .data_root import locate_root
from .image_listing import list_images
from .named_images import parse_path, read_named_images


def read_camera_folders(
    dataset_name: str,
    data_root: str,
    folder_names: Sequence[str],
    folders: Sequence[str],
    pattern: re.Pattern[str],
    example: str,
) -> tuple[str, list[ReIDRecord], list[str]]:
    """Read folders of images, one for each camera, whose names begin with the identity.

    Args:
        dataset_name: Such as ``'VIPeR'``.
        data_root: See :func:`~fusionreid.datasets.data_root.candidate_roots`.
        folder_names: See there.
        folders: The folder of each camera, relative to the root.
        pattern: Pattern of a file name, whose first group is the identity.
        example: A file name, for messages.

    Returns:
        The root, its images, and sentences on what is not taken.

    Raises:
        DatasetNotFoundError: If a folder is missing.
        DatasetFormatError: If a file name does not parse.
    """
    root = locate_root(dataset_name, data_root, folder_names, folders)
    images: list[ReIDRecord] = []
    notes: list[str] = []
    for camera, folder in enumerate(folders):
        listing = list_images(os.path.join(root, folder))
        notes += listing.summary()

        def parse(name: str, camera: int = camera) -> tuple[int, int]:
            return int(parse_path(pattern, name, example)[1]), camera

        images += read_named_images(listing, parse)
    return root, images, notes
