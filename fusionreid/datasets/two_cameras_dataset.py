"""Small data sets of two cameras that share people, with a folder of images for each camera."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np

from .annotation import ReIDRecord
from .data_root import locate_root
from .image_listing import list_images
from .named_images import parse_path, read_named_images
from .random_split_dataset import RandomSplitDataset
from .repeated_splits import draw_people


class TwoCamerasDataset(RandomSplitDataset):
    """Two cameras, one image of each person in each.

    In each split one half of the people whom both cameras saw trains. The images of the others in
    the first camera are the queries; the gallery are all in the second one but for those who train.

    Args:
        data_root: The folder that has those of the cameras, or the one that contains it.
        **kwargs: As in :class:`RandomSplitDataset`.
    """

    # The folder of each camera, and how the name of a file begins: with the identity, a group.
    CAMERA_FOLDERS: tuple[str, str]
    FILE_NAME: re.Pattern[str]
    EXAMPLE_NAME: str
    # The largest identity that both cameras saw; None where they saw all.
    LAST_SHARED: int | None = None

    def read_images(self) -> tuple[str, list[ReIDRecord], list[str]]:
        """Read both folders; see :meth:`RandomSplitDataset.read_images`."""
        name = str(self.METAINFO['dataset_name'])
        root = locate_root(name, self.data_root, self.FOLDER_NAMES, self.CAMERA_FOLDERS)
        images: list[ReIDRecord] = []
        notes: list[str] = []
        for camera, folder in enumerate(self.CAMERA_FOLDERS):
            listing = list_images(os.path.join(root, folder))
            notes += listing.summary()

            def parse(name: str, camera: int = camera) -> tuple[int, int]:
                return int(parse_path(self.FILE_NAME, name, self.EXAMPLE_NAME)[1]), camera

            images += read_named_images(listing, parse)
        return root, images, notes

    def divide(
        self, images: Sequence[ReIDRecord], index: int, random: np.random.Generator
    ) -> dict[str, list[ReIDRecord]]:
        """Draw one half of the shared people; see :meth:`RandomSplitDataset.divide`."""
        shared = {
            image.person_id
            for image in images
            if self.LAST_SHARED is None or image.person_id <= self.LAST_SHARED
        }
        train, tested = draw_people(shared, len(shared) // 2, random)
        return {
            'train': [image for image in images if image.person_id in train],
            'query': [i for i in images if i.camera_id == 0 and i.person_id in tested],
            'gallery': [i for i in images if i.camera_id == 1 and i.person_id not in train],
        }
