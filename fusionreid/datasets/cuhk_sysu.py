"""CUHK-SYSU, cropped to people: a source of training images."""

from __future__ import annotations

import re

from fusionreid.registry import DATASETS

from .market_style_dataset import MarketStyleDataset
from .named_images import parse_path

_NAME = re.compile(r'p(\d+)_s\d+_\d+\.\w+')


def parse_cuhk_sysu_name(name: str) -> tuple[int, int]:
    """Read the identity from the name of a cropped image of CUHK-SYSU.

    Args:
        name: Such as ``p11422_s16929_1.jpg``: identity, scene, number of the image.

    Returns:
        The identity, and -1 for the camera, which is unknown.

    Raises:
        DatasetFormatError: If the name does not follow the pattern.
    """
    return int(parse_path(_NAME, name, 'p11422_s16929_1.jpg')[1]), -1


@DATASETS.register_module()
class CUHKSYSU(MarketStyleDataset):
    """CUHK-SYSU in the cropped form that is common in person re-identification.

    Published by Xiao et al. in "Joint Detection and Identification Feature Learning for Person
    Search", CVPR 2017.

    A source of training images, street photos and films, in the folder ``cropped_images``. The
    scenes and boxes of the original person search data set are not read. The cameras are unknown.

    Args:
        data_root: The folder with ``cropped_images``, or the one that contains it.
        **kwargs: As in :class:`ReIDDataset`; ``split`` is ``'train'``.
    """

    METAINFO = {
        'dataset_name': 'CUHK-SYSU',
        'num_cameras': None,
        'protocol': 'a source of training images: no test',
        'official_counts': {'train': {'identities': 11934, 'images': 34574, 'cameras': 0}},
    }
    FOLDER_NAMES = ('cuhk-sysu', 'cuhksysu', 'CUHK-SYSU', 'cuhk_sysu')
    FOLDERS = {'train': 'cropped_images'}
    DISTRACTOR_ID = None
    UNKNOWN_CAMERA_ALLOWED = True
    parse_name = staticmethod(parse_cuhk_sysu_name)
