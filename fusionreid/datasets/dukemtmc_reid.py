"""DukeMTMC-reID: its folder names, official counts and distractors."""

from __future__ import annotations

from fusionreid.registry import DATASETS

from .market_style_dataset import MarketStyleDataset


@DATASETS.register_module()
class DukeMTMCReID(MarketStyleDataset):
    """DukeMTMC-reID (Ristani et al., ECCVW 2016; Zheng et al., ICCV 2017).

    Its authors have withdrawn the data set; the class is here to reproduce published numbers.
    The gallery's 408 distractors have ids of their own and are counted as identities.

    Args:
        data_root: ``DukeMTMC-reID`` or ``dukemtmc-reid``, or the folder that contains it.
        **kwargs: As in :class:`ReIDDataset`.
    """

    METAINFO = {
        'dataset_name': 'DukeMTMC-reID',
        'num_cameras': 8,
        'official_counts': {
            'train': {'identities': 702, 'images': 16522, 'cameras': 8},
            'query': {'identities': 702, 'images': 2228, 'cameras': 8},
            'gallery': {'identities': 1110, 'images': 17661, 'cameras': 8},
        },
    }
    FOLDER_NAMES = ('dukemtmc-reid', 'DukeMTMC-reID', 'dukemtmcreid', 'dukemtmc')
    DISTRACTOR_ID = None
