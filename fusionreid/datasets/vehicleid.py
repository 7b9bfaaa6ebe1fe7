"""VehicleID: vehicles in lists, scored over random galleries of one image each."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fusionreid.errors import DatasetFormatError
from fusionreid.registry import DATASETS

from .annotation import ReIDAnnotation, ReIDRecord
from .base_reid_dataset import ReIDDataset
from .data_root import locate_root
from .files import read_text
from .repeated_splits import NUM_SPLITS, draw_one_each, join_splits

LISTS = 'train_test_split'
# Images of the test set of each number of vehicles.
_OFFICIAL_IMAGES = {800: 6493, 1600: 13377, 2400: 19777}


@DATASETS.register_module()
class VehicleID(ReIDDataset):
    """PKU VehicleID.

    Published by Liu et al. in "Deep Relative Distance Learning: Tell the Difference Between Similar
    Vehicles", CVPR 2016.

    ``image`` holds the images, ``train_test_split`` lists of lines ``image vehicle``. The cameras
    are unknown, so that no match is removed. For a score one random image of each vehicle is the
    gallery and all others are queries; this is done ten times from ``seed``, and ``ReIDMetric``
    gives mean and deviation. The larger test lists of the download are not read, and neither are
    models and colors.

    Args:
        data_root: ``VehicleID_V1.0``, or the folder that contains it.
        split: See :class:`ReIDDataset`.
        test_size: Vehicles of the test list: 800, 1600 or 2400.
        seed: What the galleries are drawn from.
        **kwargs: As in :class:`ReIDDataset`.
    """

    METAINFO = {'dataset_name': 'VehicleID', 'num_cameras': None, 'official_counts': None}
    FOLDER_NAMES = ('vehicleid', 'VehicleID_V1.0', 'VehicleID', 'PKU-VehicleID')
    UNKNOWN_CAMERA_ALLOWED = True

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        test_size: int = 800,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if test_size not in _OFFICIAL_IMAGES:
            raise ValueError(
                f'test_size must be one of {", ".join(map(str, _OFFICIAL_IMAGES))}, but is '
                f'{test_size!r}'
            )
        self.test_size = test_size
        self.seed = seed
        super().__init__(data_root, split, **kwargs)

    def read_annotation(self) -> ReIDAnnotation:
        """Read the lists and draw the galleries; see :meth:`ReIDDataset.read_annotation`."""
        root = locate_root(
            'VehicleID',
            self.data_root,
            self.FOLDER_NAMES,
            [LISTS],
            f'the folders image and {LISTS}',
        )
        train_list = os.path.join(root, LISTS, 'train_list.txt')
        test_list = os.path.join(root, LISTS, f'test_list_{self.test_size}.txt')
        folder = os.path.join(root, 'image')
        records: dict[str, list[ReIDRecord]] = {}
        listed: dict[str, list[str]] = {}
        description = (
            f'{NUM_SPLITS} random galleries of one image of each vehicle (seed {self.seed})'
        )
        tested = _OFFICIAL_IMAGES[self.test_size]
        size = self.test_size
        metainfo: dict[str, Any] = {
            'protocol': f'{size} vehicles, one gallery image of each; no camera rule',
            'official_counts': {
                'train': {'identities': 13164, 'images': 113346, 'cameras': 0},
                'query': {'identities': size, 'images': tested - size, 'cameras': 0},
                'gallery': {'identities': size, 'images': size, 'cameras': 0},
            },
        }
        if os.path.isfile(train_list):
            records['train'] = sorted(_read_list(train_list, folder))
            listed[train_list] = [record.img_path for record in records['train']]
        if os.path.isfile(test_list):
            images = _read_list(test_list, folder)
            listed[test_list] = [image.img_path for image in images]
            splits = []
            random = np.random.default_rng(self.seed)
            for _ in range(NUM_SPLITS):
                gallery = [*draw_one_each(images, random).values()]
                splits.append({'query': sorted(set(images) - set(gallery)), 'gallery': gallery})
            found, test_splits = join_splits(splits, description)
            records.update(found)
            if self.split == 'test':
                metainfo['test_splits'] = test_splits
        sources = dict.fromkeys(('query', 'gallery'), f"the list '{test_list}'")
        sources['train'] = f"the list '{train_list}'"
        notes = [f'scores are means over {description}']
        return ReIDAnnotation(root, records, sources, metainfo, notes, listed)


def _read_list(list_file: str, folder: str) -> list[ReIDRecord]:
    records: dict[str, ReIDRecord] = {}
    for number, line in enumerate(read_text(list_file).splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        # Digits alone: a name that leads out of the folder does not parse.
        if len(fields) != 2 or not all(field.isascii() and field.isdecimal() for field in fields):
            raise DatasetFormatError(
                f"{list_file}, line {number}: expected 'image vehicle', such as '0216601 1', but "
                f"found '{line.strip()}'"
            )
        name, vehicle = fields
        if name in records:
            raise DatasetFormatError(
                f'{list_file}, line {number}: image {name} is listed twice; remove one of the lines'
            )
        records[name] = ReIDRecord(os.path.join(folder, f'{name}.jpg'), int(vehicle), -1)
    if not records:
        raise DatasetFormatError(
            f"{list_file} is empty: expected a line 'image vehicle' for each image"
        )
    return [*records.values()]
