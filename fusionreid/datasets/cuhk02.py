"""CUHK02: five pairs of cameras, a source of training images."""

from __future__ import annotations

import os
import re

from fusionreid.errors import DatasetNotFoundError
from fusionreid.registry import DATASETS

from .annotation import ReIDAnnotation, ReIDRecord
from .base_reid_dataset import ReIDDataset
from .data_root import locate_root
from .image_listing import list_images
from .named_images import parse_path, read_named_images

PAIRS = ('P1', 'P2', 'P3', 'P4', 'P5')
CAMERAS = ('cam1', 'cam2')
# Identities count anew in each pair, up to 971.
PEOPLE_OF_A_PAIR = 10_000
_NAME = re.compile(r'(\d+)_\d+\.\w+')


@DATASETS.register_module()
class CUHK02(ReIDDataset):
    """CUHK02 (Li and Wang, "Locally Aligned Feature Transforms across Views", CVPR 2013).

    1,816 people in five pairs of cameras, two images of each in each camera, with names such as
    ``001_01.png``. All train: the data set serves as a source. Its people overlap with those of
    CUHK03, which has been taken in the same places: do not train on one and test on the other.

    Args:
        data_root: ``Dataset`` of the download, with ``P1`` to ``P5``, or the folder that contains
            it.
        **kwargs: As in :class:`ReIDDataset`; ``split`` is ``'train'``.
    """

    METAINFO = {
        'dataset_name': 'CUHK02',
        'num_cameras': 10,
        'protocol': 'a source of training images: no test',
        'official_counts': {'train': {'identities': 1816, 'images': 7264, 'cameras': 10}},
    }
    FOLDER_NAMES = ('cuhk02', 'CUHK02', 'Dataset')

    def read_annotation(self) -> ReIDAnnotation:
        """Read the folders of all pairs; see :meth:`ReIDDataset.read_annotation`."""
        root = locate_root('CUHK02', self.data_root, self.FOLDER_NAMES, PAIRS)
        records: list[ReIDRecord] = []
        notes: list[str] = []
        for number, pair in enumerate(PAIRS):
            for view, camera in enumerate(CAMERAS):
                folder = os.path.join(root, pair, camera)
                if not os.path.isdir(folder):
                    raise DatasetNotFoundError(
                        f"CUHK02: the folder '{folder}' is missing: unpack the data set completely"
                    )
                listing = list_images(folder)
                notes += listing.summary()

                def parse(name: str, pair: int = number, view: int = view) -> tuple[int, int]:
                    person = int(parse_path(_NAME, name, '001_01.png')[1])
                    return PEOPLE_OF_A_PAIR * pair + person, len(CAMERAS) * pair + view

                records += read_named_images(listing, parse)
        sources = {'train': f"the folders '{root}/P1' to '{root}/P5'"}
        return ReIDAnnotation(root, {'train': sorted(records)}, sources, notes=notes)
