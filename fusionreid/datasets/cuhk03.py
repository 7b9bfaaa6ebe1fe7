"""CUHK03: labeled and detected boxes, the new and the classic protocol."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np

from fusionreid.errors import DatasetFormatError, DatasetNotFoundError
from fusionreid.registry import DATASETS

from .annotation import ReIDAnnotation, ReIDRecord
from .base_reid_dataset import ReIDDataset
from .cuhk03_archive import BOXES, NUM_TEST_SETS, find_archive, read_test_set
from .data_root import locate_root
from .image_listing import list_images
from .market_style_dataset import FOLDERS, parse_market_name
from .mat_file import read_mat, read_mat_integers
from .named_images import parse_path, read_named_images
from .repeated_splits import NUM_SPLITS, draw_one_each, join_splits

PROTOCOLS = ('new', 'classic')
# Identities count anew in each of the five pairs of cameras, up to 843.
PEOPLE_OF_A_PAIR = 10_000
_NAME = re.compile(r'(\d)_(\d{3,4})_([12])_\d{2}\.\w+')
_EXAMPLE = '1_001_1_01.png'
_OFFICIAL_IMAGES = {
    'labeled': {'train': 7368, 'query': 1400, 'gallery': 5328},
    'detected': {'train': 7365, 'query': 1400, 'gallery': 5332},
}


@DATASETS.register_module()
class CUHK03(ReIDDataset):
    """CUHK03, with labeled or detected boxes, by the new or the classic protocol.

    Published by Li et al. in "DeepReID: Deep Filter Pairing Neural Network for Person
    Re-identification", CVPR 2014.

    Three layouts are understood:

    - ``images_labeled`` and ``images_detected``, with names such as ``1_001_1_01.png`` (pair of
      cameras, person, view, image), beside ``cuhk03_new_protocol_config_labeled.mat`` and
      ``..._detected.mat``. ``fusionreid unpack-cuhk03`` makes the folders from ``cuhk-03.mat``.
    - CUHK03-NP: ``labeled`` and ``detected``, each laid out and named as Market-1501 is.
    - ``cuhk-03.mat``, in the folder or in ``cuhk03_release`` below it, has the test sets of the
      classic protocol, and has to be unpacked for its images.

    The new protocol (Zhong et al., "Re-ranking Person Re-identification with k-reciprocal
    Encoding", CVPR 2017) tests 700 people and trains on 767. The classic one tests 100 people: the
    images of one view are the queries, and one random image of each person in the other view is the
    gallery; ten galleries are drawn from ``seed``, and ``ReIDMetric`` gives mean and deviation. It
    has 20 test sets; all other people train, also those whom its authors kept for validation.

    Args:
        data_root: The folder, or the one that contains it.
        split: See :class:`ReIDDataset`.
        boxes: ``'labeled'`` (drawn by hand) or ``'detected'``.
        protocol: ``'new'`` or ``'classic'``.
        test_set: 0 to 19, for the classic protocol.
        seed: What the galleries of the classic protocol are drawn from.
        **kwargs: As in :class:`ReIDDataset`.
    """

    METAINFO = {'dataset_name': 'CUHK03', 'num_cameras': 2, 'official_counts': None}
    FOLDER_NAMES = ('cuhk03', 'CUHK03', 'cuhk03-np', 'CUHK03-NP')

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        boxes: str = 'detected',
        protocol: str = 'new',
        test_set: int = 0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if boxes not in BOXES:
            raise ValueError(f'boxes must be one of {", ".join(BOXES)}, but is {boxes!r}')
        if protocol not in PROTOCOLS:
            raise ValueError(f'protocol must be one of {", ".join(PROTOCOLS)}, but is {protocol!r}')
        if test_set not in range(NUM_TEST_SETS):
            raise ValueError(f'test_set must be 0 to {NUM_TEST_SETS - 1}, but is {test_set!r}')
        self.boxes = boxes
        self.protocol = protocol
        self.test_set = test_set
        self.seed = seed
        super().__init__(data_root, split, **kwargs)

    def read_annotation(self) -> ReIDAnnotation:
        """Read the layout that is there; see :meth:`ReIDDataset.read_annotation`."""
        images = f'images_{self.boxes}'
        root = locate_root(
            'CUHK03',
            self.data_root,
            self.FOLDER_NAMES,
            [images, self.boxes, 'cuhk-03.mat', 'cuhk03_release'],
            f'the folder {images}, or {self.boxes} of CUHK03-NP, or cuhk-03.mat',
        )
        metainfo: dict[str, Any] = {
            'protocol': f'{self.protocol} protocol, {self.boxes} boxes',
            'official_counts': {
                role: {'identities': 767 if role == 'train' else 700, 'images': count, 'cameras': 2}
                for role, count in _OFFICIAL_IMAGES[self.boxes].items()
            },
        }
        extracted = os.path.join(root, images)
        market = os.path.join(root, self.boxes)
        if self.protocol == 'new' and os.path.isdir(market) and not os.path.isdir(extracted):
            return self._read_market(root, market, metainfo)
        if not os.path.isdir(extracted):
            raise DatasetNotFoundError(
                f"CUHK03: the folder '{extracted}' is missing: fusionreid unpack-cuhk03 {root} "
                'makes it from cuhk-03.mat'
            )
        if self.protocol == 'new':
            return self._read_new(root, extracted, metainfo)
        return self._read_classic(root, extracted, metainfo)

    def _read_market(self, root: str, folder: str, metainfo: dict[str, Any]) -> ReIDAnnotation:
        records: dict[str, list[ReIDRecord]] = {}
        notes: list[str] = []
        folders = {role: os.path.join(folder, name) for role, name in FOLDERS.items()}
        for role, path in folders.items():
            if os.path.isdir(path):
                listing = list_images(path)
                notes += listing.summary()
                records[role] = read_named_images(listing, parse_market_name)
        sources = {role: f"the folder '{path}'" for role, path in folders.items()}
        return ReIDAnnotation(root, records, sources, metainfo, notes)

    def _read_new(self, root: str, folder: str, metainfo: dict[str, Any]) -> ReIDAnnotation:
        path = os.path.join(root, f'cuhk03_new_protocol_config_{self.boxes}.mat')
        variables = {'train': 'train_idx', 'query': 'query_idx', 'gallery': 'gallery_idx'}
        people, *rows = read_mat_integers(path, 'labels', *variables.values())
        people = people.flatten()
        names = _read_names(path, len(people))
        records: dict[str, list[ReIDRecord]] = {}
        for role, numbers in zip(variables, rows, strict=True):
            outside = numbers[(numbers < 1) | (numbers > len(names))]
            if len(outside):
                raise DatasetFormatError(
                    f"'{path}': {variables[role]} names image {outside[0]}, but there are "
                    f'{len(names)}'
                )
            records[role] = sorted(
                ReIDRecord(
                    os.path.join(folder, names[number]),
                    int(people[number]),
                    int(parse_path(_NAME, names[number], _EXAMPLE)[3]) - 1,
                )
                for number in (numbers.flatten() - 1).tolist()
            )
        sources = dict.fromkeys(variables, f"'{path}'")
        listed = {
            f'{path} ({role})': [r.img_path for r in found] for role, found in records.items()
        }
        return ReIDAnnotation(root, records, sources, metainfo, listed=listed)

    def _read_classic(self, root: str, folder: str, metainfo: dict[str, Any]) -> ReIDAnnotation:
        archive = find_archive(root)
        tested = {
            PEOPLE_OF_A_PAIR * pair + person
            for pair, person in read_test_set(archive, self.test_set)
        }
        listing = list_images(folder)
        images = read_named_images(listing, parse_cuhk03_name)
        records = {'train': [image for image in images if image.person_id not in tested]}
        queries = [i for i in images if i.person_id in tested and i.camera_id == 0]
        views = [i for i in images if i.person_id in tested and i.camera_id == 1]
        random = np.random.default_rng([self.seed, self.test_set])
        splits = [
            {'query': queries, 'gallery': [*draw_one_each(views, random).values()]}
            for _ in range(NUM_SPLITS)
        ]
        description = (
            f'{NUM_SPLITS} random galleries of one image of each person (seed {self.seed})'
        )
        found, test_splits = join_splits(splits, description)
        records.update(found)
        metainfo = {
            'protocol': f'{metainfo["protocol"]}, test set {self.test_set}, one gallery image each',
            **({'test_splits': test_splits} if self.split == 'test' else {}),
        }
        notes = [*listing.summary(), f'scores are means over {description}']
        sources = dict.fromkeys(records, f"the folder '{folder}' and '{archive}'")
        return ReIDAnnotation(root, records, sources, metainfo, notes)


def parse_cuhk03_name(name: str) -> tuple[int, int]:
    """Read identity and view from a file name of CUHK03.

    Args:
        name: Such as ``1_001_1_01.png``: pair of cameras, person of this pair, view, image.

    Returns:
        A number of the person among all pairs, and the 0-based view as camera.

    Raises:
        DatasetFormatError: If the name does not follow the pattern.

    Example:
        >>> parse_cuhk03_name('2_007_2_06.png')
        (20007, 1)
    """
    pair, person, view = map(int, parse_path(_NAME, name, _EXAMPLE).groups())
    return PEOPLE_OF_A_PAIR * pair + person, view - 1


def _read_names(path: str, count: int) -> list[str]:
    """The file names in a configuration of the new protocol."""
    (cells,) = read_mat(path, ['filelist'])
    names = [str(cell[0]) if getattr(cell, 'size', 0) == 1 else '' for cell in cells.flatten()]
    if len(names) != count:
        raise DatasetFormatError(
            f"'{path}': filelist has {len(names)} names, but labels has {count}: it is damaged"
        )
    for name in names:
        # Nothing but a name: what leads out of the folder does not parse.
        try:
            parse_path(_NAME, name, _EXAMPLE)
        except DatasetFormatError as error:
            raise DatasetFormatError(f"'{path}': {error}") from None
    return names
