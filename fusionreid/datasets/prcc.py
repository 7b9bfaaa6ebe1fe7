"""PRCC: three cameras, of which the third shows people in other clothes."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np

from fusionreid.registry import DATASETS

from .annotation import ReIDAnnotation, ReIDRecord
from .base_reid_dataset import ReIDDataset
from .data_root import locate_root
from .image_listing import list_images
from .named_images import parse_path, read_named_images
from .repeated_splits import NUM_SPLITS, draw_one_each, join_splits

CAMERAS = ('A', 'B', 'C')
# Camera of the queries: A, the gallery, and B show the same clothes, C shows others.
QUERY_CAMERAS = {'different': 'C', 'same': 'B'}
_OFFICIAL_QUERY_IMAGES = {'different': 3543, 'same': 3873}
_TRAIN_PATH = re.compile(r'(\d+)/([ABC])_\w+\.\w+')
_TEST_PATH = re.compile(r'(\d+)/\w+\.\w+')


def _label(person: str, camera: str) -> tuple[int, int, int]:
    """Identity, 0-based camera, and clothes: the same in A and B, others in C."""
    return int(person), CAMERAS.index(camera), 2 * int(person) + (camera == 'C')


def parse_prcc_train_path(path: str) -> tuple[int, int, int]:
    """Read identity, camera and clothes from a path below ``rgb/train``.

    Args:
        path: Such as ``001/A_cropped_rgb001.jpg``: identity, camera.

    Returns:
        The identity, the 0-based camera, and a number of these clothes on this person.

    Raises:
        DatasetFormatError: If the path does not follow the pattern.

    Example:
        >>> parse_prcc_train_path('007/C_cropped_rgb001.jpg')
        (7, 2, 15)
    """
    return _label(*parse_path(_TRAIN_PATH, path, '001/A_cropped_rgb001.jpg').groups())


@DATASETS.register_module()
class PRCC(ReIDDataset):
    """PRCC, people in the same and in other clothes.

    Published by Yang et al. in "Person Re-identification by Contour Sketch under Moderate Clothing
    Change", TPAMI 2021.

    The gallery is camera A. The queries are camera C, in other clothes than in A, or camera B, in
    the same ones. With ``single_shot``, as its authors score, ten random galleries of one image of
    each person are drawn from ``seed``, and ``ReIDMetric`` gives mean and deviation; otherwise all
    images of A are the gallery, as later publications also report. ``rgb/val``, further images of
    the training people, and ``sketch`` are not read.

    Args:
        data_root: ``prcc``, which has the folder ``rgb``, or the folder that contains it.
        split: See :class:`ReIDDataset`.
        query_clothes: ``'different'`` from those in the gallery, or the ``'same'``.
        single_shot: Whether each person has one image in the gallery, over ten draws.
        seed: What the galleries are drawn from.
        **kwargs: As in :class:`ReIDDataset`.
    """

    METAINFO = {'dataset_name': 'PRCC', 'num_cameras': 3, 'official_counts': None}
    FOLDER_NAMES = ('prcc', 'PRCC', 'PRCC-ReID')
    # Whether training and test people are numbered together is not documented.
    SHARED_ID_SPACE = False

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        query_clothes: str = 'different',
        single_shot: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if query_clothes not in QUERY_CAMERAS:
            raise ValueError(
                f'query_clothes must be one of {", ".join(QUERY_CAMERAS)}, but is {query_clothes!r}'
            )
        self.query_clothes = query_clothes
        self.single_shot = single_shot
        self.seed = seed
        super().__init__(data_root, split, **kwargs)

    def read_annotation(self) -> ReIDAnnotation:
        """Read ``rgb/train`` and ``rgb/test``; see :meth:`ReIDDataset.read_annotation`."""
        root = locate_root('PRCC', self.data_root, self.FOLDER_NAMES, ['rgb'], 'the folder rgb')
        query_camera = QUERY_CAMERAS[self.query_clothes]
        folders = {
            'train': os.path.join(root, 'rgb', 'train'),
            'query': os.path.join(root, 'rgb', 'test', query_camera),
            'gallery': os.path.join(root, 'rgb', 'test', 'A'),
        }
        records: dict[str, list[ReIDRecord]] = {}
        notes: list[str] = []
        for role, folder in folders.items():
            if not os.path.isdir(folder):
                continue
            listing = list_images(folder, below=True)
            notes += listing.summary()
            camera = os.path.basename(folder)

            def parse(path: str, camera: str = camera) -> tuple[int, int, int]:
                return _label(parse_path(_TEST_PATH, path, '001/cropped_rgb001.jpg')[1], camera)

            parser = parse_prcc_train_path if role == 'train' else parse
            records[role] = sorted(read_named_images(listing, parser))
        metainfo: dict[str, Any] = {
            'protocol': f'queries of camera {query_camera} ({self.query_clothes} clothes) in '
            f'camera A',
            'official_counts': {
                'train': {'identities': 150, 'images': 17896, 'cameras': 3},
                'query': {
                    'identities': 71,
                    'images': _OFFICIAL_QUERY_IMAGES[self.query_clothes],
                    'cameras': 1,
                },
                'gallery': {'identities': 71, 'images': 3384, 'cameras': 1},
            },
        }
        if self.single_shot and self.split == 'test' and {'query', 'gallery'} <= records.keys():
            metainfo['test_splits'] = self._draw_galleries(records)
            notes.append(f'scores are means over {metainfo["test_splits"]["description"]}')
        sources = {role: f"the folder '{folder}'" for role, folder in folders.items()}
        return ReIDAnnotation(root, records, sources, metainfo, notes)

    def _draw_galleries(self, records: dict[str, list[ReIDRecord]]) -> dict[str, Any]:
        random = np.random.default_rng(self.seed)
        splits = [
            {
                'query': records['query'],
                'gallery': [*draw_one_each(records['gallery'], random).values()],
            }
            for _ in range(NUM_SPLITS)
        ]
        description = (
            f'{NUM_SPLITS} random galleries of one image of each person (seed {self.seed})'
        )
        # Each image of the gallery is encoded, whether or not it is drawn.
        drawn = {'query': records['query'], 'gallery': records['gallery']}
        _, test_splits = join_splits([drawn, *splits], description)
        return {**test_splits, 'splits': test_splits['splits'][1:]}
