"""PRID 2011, its single-shot version: two cameras that share 200 people."""

from __future__ import annotations

import os
import re

from fusionreid.registry import DATASETS

from .two_cameras_dataset import TwoCamerasDataset


@DATASETS.register_module()
class PRID2011(TwoCamerasDataset):
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
    CAMERA_FOLDERS = (os.path.join('single_shot', 'cam_a'), os.path.join('single_shot', 'cam_b'))
    FILE_NAME = re.compile(r'person_(\d+)\.\w+')
    EXAMPLE_NAME = 'person_0001.png'
    LAST_SHARED = 200  # further ones of each camera are strangers
    COUNTS_OF_ONE = {
        'train': {'identities': 100, 'images': 200, 'cameras': 2},
        'query': {'identities': 100, 'images': 100, 'cameras': 1},
        'gallery': {'identities': 649, 'images': 649, 'cameras': 1},
    }
    COUNTS_OF_ALL = {
        'query': {'identities': 200, 'images': 200, 'cameras': 1},
        'gallery': {'identities': 749, 'images': 749, 'cameras': 1},
    }
