"""PRID 2011, its single-shot version: two cameras that share 200 people."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np

from fusionreid.registry import DATASETS

from .annotation import ReIDRecord
from .camera_folders import read_camera_folders
from .random_split_dataset import RandomSplitDataset
from .repeated_splits import draw_people

SHARED_PEOPLE = 200  # identities from 1 on that both cameras saw; the others of each are strangers
_NAME = re.compile(r'person_(\d+)\.\w+')


@DATASETS.register_module()
class PRID2011(RandomSplitDataset):
    """PRID 2011, its single-shot version.

    Published by Hirzer et al. in "Person Re-Identification by Descriptive and Discriminative
    Classification", SCIA 2011.

    ``cam_a`` has 385 and ``cam_b`` 749 people, with one image each, ``person_0001.png``; the first
    200 are the same. In each split 100 of these train. The other 100 in ``cam_a`` are the queries;
    the gallery is all of ``cam_b`` but for those who train, 649 images. ``multi_shot`` is not read.

    Args:
        data_root: ``prid_2011``, or the folder that contains it.
        **kwargs: As in :class:`RandomSplitDataset`.
    """

    METAINFO = {
        'dataset_name': 'PRID 2011',
        'num_cameras': 2,
        'protocol': 'single shot, 100 people of cam_a in 649 of cam_b',
        'official_counts': None,
    }
    FOLDER_NAMES = ('prid2011', 'prid_2011', 'PRID2011', 'PRID-2011')
    COUNTS_OF_ONE = {
        'train': {'identities': 100, 'images': 200, 'cameras': 2},
        'query': {'identities': 100, 'images': 100, 'cameras': 1},
        'gallery': {'identities': 649, 'images': 649, 'cameras': 1},
    }
    COUNTS_OF_ALL = {
        'query': {'identities': 200, 'images': 200, 'cameras': 1},
        'gallery': {'identities': 749, 'images': 749, 'cameras': 1},
    }

    def read_images(self) -> tuple[str, list[ReIDRecord], list[str]]:
        """Read both folders; see :meth:`RandomSplitDataset.read_images`."""
        folders = [os.path.join('single_shot', camera) for camera in ('cam_a', 'cam_b')]
        return read_camera_folders(
            'PRID 2011', self.data_root, self.FOLDER_NAMES, folders, _NAME, 'person_0001.png'
        )

    def divide(
        self, images: Sequence[ReIDRecord], index: int, random: np.random.Generator
    ) -> dict[str, list[ReIDRecord]]:
        """Draw one half of the shared people; see :meth:`RandomSplitDataset.divide`."""
        shared = {image.person_id for image in images if image.person_id <= SHARED_PEOPLE}
        train, tested = draw_people(shared, len(shared) // 2, random)
        return {
            'train': [image for image in images if image.person_id in train],
            'query': [i for i in images if i.camera_id == 0 and i.person_id in tested],
            'gallery': [i for i in images if i.camera_id == 1 and i.person_id not in train],
        }
