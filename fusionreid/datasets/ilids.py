"""QMUL i-LIDS: a few images of each of 119 people in an airport."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from fusionreid.errors import DatasetFormatError
from fusionreid.registry import DATASETS

from .annotation import ReIDRecord
from .data_root import locate_root
from .image_listing import list_images
from .named_images import parse_path, read_named_images
from .random_split_dataset import RandomSplitDataset
from .repeated_splits import draw_one_each, draw_people

FOLDER = 'Persons'
_NAME = re.compile(r'(\d{4})(\d{3})\.\w+')


def parse_ilids_name(name: str) -> tuple[int, int]:
    """Read the identity from a file name of i-LIDS.

    Args:
        name: Such as ``0001002.jpg``: four digits of the identity, three of the image.

    Returns:
        The identity, and -1 for the camera, which is unknown.

    Raises:
        DatasetFormatError: If the name does not follow the pattern.
    """
    return int(parse_path(_NAME, name, '0001002.jpg')[1]), -1


@DATASETS.register_module()
class ILIDS(RandomSplitDataset):
    """QMUL i-LIDS (Zheng et al., "Associating Groups of People", BMVC 2009).

    476 images of 119 people. In each split 59 people train; of each of the other 60, one random
    image is the query and another one the gallery. The cameras are unknown: the digits after the
    identity only count the images. The download has no splits.

    Args:
        data_root: ``i-LIDS_Pedestrian``, which has the folder ``Persons``, or the folder that
            contains it.
        **kwargs: As in :class:`RandomSplitDataset`.
    """

    METAINFO = {
        'dataset_name': 'i-LIDS',
        'num_cameras': None,
        'protocol': 'one half of the people tested, one image against one image; no camera rule',
        'official_counts': None,
    }
    FOLDER_NAMES = ('ilids', 'i-LIDS_Pedestrian', 'iLIDS', 'i-LIDS')
    UNKNOWN_CAMERA_ALLOWED = True
    COUNTS_OF_ONE = {
        'train': {'identities': 59, 'cameras': 0},
        'query': {'identities': 60, 'images': 60, 'cameras': 0},
        'gallery': {'identities': 60, 'images': 60, 'cameras': 0},
    }

    def read_images(self) -> tuple[str, list[ReIDRecord], list[str]]:
        """Read the folder; see :meth:`RandomSplitDataset.read_images`."""
        root = locate_root('i-LIDS', self.data_root, self.FOLDER_NAMES, [FOLDER])
        listing = list_images(os.path.join(root, FOLDER))
        images = read_named_images(listing, parse_ilids_name)
        count = Counter(image.person_id for image in images)
        for image in images:
            if count[image.person_id] < 2:
                raise DatasetFormatError(
                    f"{listing.folder}: '{image.img_path}' is the only image of its person: a "
                    'query needs a second one; unpack the data set completely'
                )
        return root, images, listing.summary()

    def divide(
        self, images: Sequence[ReIDRecord], index: int, random: np.random.Generator
    ) -> dict[str, list[ReIDRecord]]:
        """Draw people and their two images; see :meth:`RandomSplitDataset.divide`."""
        people = {image.person_id for image in images}
        train, _ = draw_people(people, len(people) // 2, random)
        tested = [image for image in images if image.person_id not in train]
        query = [*draw_one_each(tested, random).values()]
        others = set(tested).difference(query)
        return {
            'train': [image for image in images if image.person_id in train],
            'query': query,
            'gallery': [*draw_one_each(others, random).values()],
        }
