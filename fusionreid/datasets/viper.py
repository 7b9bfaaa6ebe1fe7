"""VIPeR: two cameras, one image of each person in each."""

from __future__ import annotations

import re

from fusionreid.registry import DATASETS

from .two_cameras_dataset import TwoCamerasDataset


@DATASETS.register_module()
class VIPeR(TwoCamerasDataset):
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
    CAMERA_FOLDERS = ('cam_a', 'cam_b')
    FILE_NAME = re.compile(r'(\d+)_\d+\.\w+')
    EXAMPLE_NAME = '000_45.bmp'
    COUNTS_OF_ONE = {
        'train': {'identities': 316, 'images': 632, 'cameras': 2},
        'query': {'identities': 316, 'images': 316, 'cameras': 1},
        'gallery': {'identities': 316, 'images': 316, 'cameras': 1},
    }
    COUNTS_OF_ALL = {
        'query': {'identities': 632, 'images': 632, 'cameras': 1},
        'gallery': {'identities': 632, 'images': 632, 'cameras': 1},
    }
