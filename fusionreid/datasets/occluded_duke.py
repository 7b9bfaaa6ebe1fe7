"""Occluded-Duke: its folder names and official counts."""

from __future__ import annotations

from fusionreid.registry import DATASETS

from .dukemtmc_reid import DukeMTMCReID


@DATASETS.register_module()
class OccludedDuke(DukeMTMCReID):
    """Occluded-Duke: DukeMTMC-reID divided anew, so that every query is occluded.

    Published by Miao et al. in "Pose-Guided Feature Alignment for Occluded Person
    Re-Identification", ICCV 2019.

    Its authors publish lists of names, and a script that makes the folders from DukeMTMC-reID,
    which is withdrawn.

    Args:
        data_root: ``Occluded_Duke``, or the folder that contains it; laid out as DukeMTMC-reID.
        **kwargs: As in :class:`ReIDDataset`.
    """

    METAINFO = {
        'dataset_name': 'Occluded-Duke',
        'num_cameras': 8,
        'protocol': 'every query occluded; same person and camera removed',
        'official_counts': {
            'train': {'identities': 702, 'images': 15618, 'cameras': 8},
            'query': {'identities': 519, 'images': 2210, 'cameras': 8},
            'gallery': {'identities': 1110, 'images': 17661, 'cameras': 8},
        },
    }
    FOLDER_NAMES = ('occluded-duke', 'Occluded_Duke', 'Occluded-DukeMTMC', 'occluded_duke')
