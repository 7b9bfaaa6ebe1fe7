"""VIPeR: two cameras, one image of each person in each."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from fusionreid.registry import DATASETS

from .annotation import ReIDRecord
from .camera_folders import read_camera_folders
from .random_split_dataset import RandomSplitDataset
from .repeated_splits import draw_people

_NAME = re.compile(r'(\d+)_\d+\.\w+')


@DATASETS.register_module()
class VIPeR(RandomSplitDataset):
    """VIPeR, two images of each of 632 people.

    Published by Gray et al. in "Evaluating Appearance Models for Recognition, Reacquisition, and
    Tracking", PETS 2007.

    632 people with one image in ``cam_a`` and one in ``cam_b``, with names such as
    ``000_45.bmp``. In each split one half of the people trains; of the others, the images of
    ``cam_a`` are the queries and those of ``cam_b`` the gallery. The download has no splits.

    Args:
        data_root: ``VIPeR``, or the folder that contains it.
        **kwargs: As in :class:`RandomSplitDataset`.
    """

    METAINFO = {
        'dataset_name': 'VIPeR',
        'num_cameras': 2,
        'protocol': 'one half of the people tested, cam_a in cam_b',
        'official_counts': None,
    }
    FOLDER_NAMES = ('viper', 'VIPeR', 'VIPeR.v1.0')
    COUNTS_OF_ONE = {
        'train': {'identities': 316, 'images': 632, 'cameras': 2},
        'query': {'identities': 316, 'images': 316, 'cameras': 1},
        'gallery': {'identities': 316, 'images': 316, 'cameras': 1},
    }
    COUNTS_OF_ALL = {
        'query': {'identities': 632, 'images': 632, 'cameras': 1},
        'gallery': {'identities': 632, 'images': 632, 'cameras': 1},
    }

    def read_images(self) -> tuple[str, list[ReIDRecord], list[str]]:
        """Read both folders; see :meth:`RandomSplitDataset.read_images`."""
        return read_camera_folders(
            'VIPeR', self.data_root, self.FOLDER_NAMES, ('cam_a', 'cam_b'), _NAME, '000_45.bmp'
        )

    def divide(
        self, images: Sequence[ReIDRecord], index: int, random: np.random.Generator
    ) -> dict[str, list[ReIDRecord]]:
        """Draw one half of the people; see :meth:`RandomSplitDataset.divide`."""
        people = {image.person_id for image in images}
        train, _ = draw_people(people, len(people) // 2, random)
        tested = [image for image in images if image.person_id not in train]
        return {
            'train': [image for image in images if image.person_id in train],
            'query': [image for image in tested if image.camera_id == 0],
            'gallery': [image for image in tested if image.camera_id == 1],
        }
