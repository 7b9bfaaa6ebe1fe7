"""Market-1501: its folder names, official counts and distractors."""

from __future__ import annotations

from fusionreid.registry import DATASETS

from .market_style_dataset import MarketStyleDataset


@DATASETS.register_module()
class Market1501(MarketStyleDataset):
    """Market-1501 (Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015).

    The gallery drops the junk images (id -1) and keeps the distractors (id 0), as the benchmark's
    protocol says.

    Args:
        data_root: ``Market-1501-v15.09.15`` or ``market1501``, or the folder with it.
        **kwargs: As in :class:`ReIDDataset`.
    """

    METAINFO = {
        'dataset_name': 'Market-1501',
        'num_cameras': 6,
        'official_counts': {
            'train': {'identities': 751, 'images': 12936, 'cameras': 6},
            'query': {'identities': 750, 'images': 3368, 'cameras': 6},
            'gallery': {'identities': 750, 'images': 15913, 'cameras': 6},
        },
    }
    FOLDER_NAMES = ('market1501', 'Market-1501-v15.09.15', 'Market-1501', 'Market1501')
