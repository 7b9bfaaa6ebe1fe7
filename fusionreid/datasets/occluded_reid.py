"""Occluded-REID and Partial-REID: occluded or partial queries, whole people in the gallery."""

from __future__ import annotations

import os
import re

from fusionreid.registry import DATASETS

from .market_style_dataset import MarketStyleDataset
from .named_images import parse_path

_NAME = re.compile(r'(\d{3})_\d+\.\w+')


def parse_body_name(path: str) -> tuple[int, int]:
    """Read the identity from the path of an image of Occluded-REID or Partial-REID.

    Args:
        path: Such as ``001/001_01.tif`` or ``001_001.jpg``: the name begins with the identity.

    Returns:
        The identity, and -1 for the camera, which is unknown.

    Raises:
        DatasetFormatError: If the name does not follow the pattern.
    """
    match = parse_path(_NAME, os.path.basename(path), '001_01.tif or 001_001.jpg')
    return int(match[1]), -1


@DATASETS.register_module()
class OccludedREID(MarketStyleDataset):
    """Occluded-REID (Zhuo et al., "Occluded Person Re-identification", ICME 2018).

    A test set: ``occluded_body_images`` holds the queries and ``whole_body_images`` the gallery, a
    folder of five images for each person, ``001/001_01.tif``; copies without these folders are
    read too. The cameras are unknown, so that no match is removed.

    Args:
        data_root: ``Occluded_REID``, or the folder that contains it.
        **kwargs: As in :class:`ReIDDataset`; ``split`` is ``'query'``, ``'gallery'`` or ``'test'``.
    """

    METAINFO = {
        'dataset_name': 'Occluded-REID',
        'num_cameras': None,
        'protocol': 'occluded queries, whole people in the gallery; no camera rule',
        'official_counts': {
            'query': {'identities': 200, 'images': 1000, 'cameras': 0},
            'gallery': {'identities': 200, 'images': 1000, 'cameras': 0},
        },
    }
    FOLDER_NAMES = ('occluded-reid', 'Occluded_REID', 'Occluded-REID', 'OccludedREID')
    FOLDERS = {'query': 'occluded_body_images', 'gallery': 'whole_body_images'}
    BELOW = True
    DISTRACTOR_ID = None
    UNKNOWN_CAMERA_ALLOWED = True
    parse_name = staticmethod(parse_body_name)
