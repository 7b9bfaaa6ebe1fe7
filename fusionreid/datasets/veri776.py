"""VeRi-776: vehicles, in folders and names much as Market-1501's."""

from __future__ import annotations

from fusionreid.registry import DATASETS

from .market_style_dataset import MarketStyleDataset


@DATASETS.register_module()
class VeRi776(MarketStyleDataset):
    """VeRi-776, vehicles seen by 20 cameras.

    Published by Liu et al. in "A Deep Learning-Based Approach to Progressive Vehicle
    Re-identification for Urban Surveillance", ECCV 2016.

    The folders are ``image_train``, ``image_query`` and ``image_test``, with names such as
    ``0001_c001_00016450_0.jpg``. The lists and the tracks of the download are not read: the queries
    are single images, scored with the camera rule.

    Args:
        data_root: ``VeRi``, or the folder that contains it.
        **kwargs: As in :class:`ReIDDataset`.
    """

    METAINFO = {
        'dataset_name': 'VeRi-776',
        'num_cameras': 20,
        'protocol': 'image to image; same vehicle and camera removed',
        'official_counts': {
            'train': {'identities': 576, 'images': 37778, 'cameras': 20},
            'query': {'identities': 200, 'images': 1678},
            'gallery': {'identities': 200, 'images': 11579},
        },
    }
    FOLDER_NAMES = ('veri776', 'VeRi', 'VeRi-776', 'veri')
    FOLDERS = {'train': 'image_train', 'query': 'image_query', 'gallery': 'image_test'}
    DISTRACTOR_ID = None
