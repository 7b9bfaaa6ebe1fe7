"""QMUL GRID: an underground station, 250 people and 775 images of strangers."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np

from fusionreid.errors import DatasetFormatError
from fusionreid.registry import DATASETS

from .annotation import ReIDRecord
from .data_root import locate_root
from .image_listing import list_images
from .mat_file import read_mat
from .named_images import parse_path, read_named_images
from .random_split_dataset import RandomSplitDataset
from .repeated_splits import NUM_SPLITS

PARTITIONS = 'features_and_partitions.mat'
# The third field of a partition: the people who train.
TRAINING_FIELD = 2
_NAME = re.compile(r'(\d{4})_(\d)_[\d_]+\.\w+')


def parse_grid_name(name: str) -> tuple[int, int]:
    """Read identity and camera from a file name of GRID.

    Args:
        name: Such as ``0001_1_25004_107_32_106_221.jpeg``: identity, 1-based camera, then frame
            and box.

    Returns:
        The identity (0 for strangers) and the 0-based camera.

    Raises:
        DatasetFormatError: If the name does not follow the pattern.
    """
    match = parse_path(_NAME, name, '0001_1_25004_107_32_106_221.jpeg')
    return int(match[1]), int(match[2]) - 1


@DATASETS.register_module()
class GRID(RandomSplitDataset):
    """QMUL GRID (Loy et al., "Multi-Camera Activity Correlation Analysis", CVPR 2009).

    ``probe`` and ``gallery`` hold one image of each of 250 people; ``gallery`` also 775 images of
    strangers, of identity 0, which are in the gallery of every split. In each split 125 people
    train. The splits are the ten official ones in ``features_and_partitions.mat``.

    Args:
        data_root: ``underground_reid``, or the folder that contains it.
        **kwargs: As in :class:`RandomSplitDataset`, where ``seed`` changes nothing.
    """

    METAINFO = {
        'dataset_name': 'GRID',
        'num_cameras': 8,
        'protocol': '125 probes in 900 gallery images, 775 of them of strangers',
        'official_counts': None,
    }
    FOLDER_NAMES = ('grid', 'underground_reid', 'GRID', 'QMUL-GRID')
    DISTRACTOR_ID = 0
    COUNTS_OF_ONE = {
        'train': {'identities': 125, 'images': 250},
        'query': {'identities': 125, 'images': 125},
        'gallery': {'identities': 125, 'images': 900},
    }
    COUNTS_OF_ALL = {
        'query': {'identities': 250, 'images': 250},
        'gallery': {'identities': 250, 'images': 1025},
    }

    def describe_splits(self) -> str:
        """Say what the ten splits are."""
        return f'the {NUM_SPLITS} official splits'

    def read_images(self) -> tuple[str, list[ReIDRecord], list[str]]:
        """Read both folders and the splits; see :meth:`RandomSplitDataset.read_images`."""
        root = locate_root('GRID', self.data_root, self.FOLDER_NAMES, ['probe', 'gallery'])
        listings = [list_images(os.path.join(root, name)) for name in ('probe', 'gallery')]
        images = [read_named_images(listing, parse_grid_name) for listing in listings]
        self._probes = set(images[0])
        self._training = _read_partitions(os.path.join(root, PARTITIONS))
        return root, images[0] + images[1], [line for each in listings for line in each.summary()]

    def divide(
        self, images: Sequence[ReIDRecord], index: int, random: np.random.Generator
    ) -> dict[str, list[ReIDRecord]]:
        """Take an official split; see :meth:`RandomSplitDataset.divide`."""
        train = self._training[index]
        tested = [image for image in images if image.person_id not in train]
        return {
            'train': [image for image in images if image.person_id in train],
            'query': [image for image in tested if image in self._probes],
            'gallery': [image for image in tested if image not in self._probes],
        }


def _read_partitions(path: str) -> list[set[int]]:
    """The people who train in each split."""
    (cells,) = read_mat(path, ['trainIdxAll'])
    partitions = [
        cell[0, 0].item()[TRAINING_FIELD].flatten().tolist()
        for cell in cells.flatten()
        if isinstance(cell, np.ndarray)
        and cell.shape == (1, 1)
        and len(cell.dtype.names or ()) > TRAINING_FIELD
    ]
    if len(partitions) != NUM_SPLITS:
        raise DatasetFormatError(
            f"'{path}': trainIdxAll holds {len(partitions)} partitions of people, expected "
            f'{NUM_SPLITS}'
        )
    return [set(people) for people in partitions]
