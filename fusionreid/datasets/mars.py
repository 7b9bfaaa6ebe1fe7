"""MARS: tracklets, whose features are averaged."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np

from fusionreid.errors import DatasetFormatError
from fusionreid.registry import DATASETS

from .annotation import ReIDAnnotation, ReIDRecord
from .base_reid_dataset import ReIDDataset
from .data_root import locate_root
from .files import read_text
from .mat_file import read_mat_integers

JUNK_ID = -1
FOLDERS = {'train': 'bbox_train', 'test': 'bbox_test'}
_NAME = re.compile(r'(\d{4})C(\d)T\d{4}F\d{3,4}\.jpg')
_OFFICIAL = {
    'train': {'tracklets': 8298, 'identities': 625},
    'query': {'tracklets': 1980, 'identities': 626},
    # 622 with the distractors, which are one identity there.
    'gallery': {'tracklets': 9330, 'identities': 621},
}


@DATASETS.register_module()
class MARS(ReIDDataset):
    """MARS, a data set of tracklets.

    Published by Zheng et al. in "MARS: A Video Benchmark for Large-Scale Person Re-Identification",
    ECCV 2016.

    An item is one image of a tracklet. ``ReIDMetric`` averages the features of each tracklet, and
    scores tracklets as usual. Training takes the images as those of any data set. Tracklets of
    identity -1 (junk) are dropped, those of identity 0 in the gallery are distractors.

    MARS has the people and cameras of Market-1501: do not train on one and test on the other.

    Args:
        data_root: ``MARS``, or the folder that contains it: ``bbox_train``, ``bbox_test``, and
            ``info`` from the repository of the evaluation code.
        split: See :class:`ReIDDataset`.
        frames: Images of each tracklet, spread evenly over it; None for all (a million).
        **kwargs: As in :class:`ReIDDataset`.
    """

    METAINFO = {'dataset_name': 'MARS', 'num_cameras': 6, 'official_counts': None}
    FOLDER_NAMES = ('mars', 'MARS', 'MARS-v160809')
    DISTRACTOR_ID = 0

    def __init__(
        self, data_root: str, split: str = 'train', frames: int | None = None, **kwargs: Any
    ) -> None:
        if frames is not None and frames < 1:
            raise ValueError(f'frames must be at least 1 or None for all, but is {frames!r}')
        self.frames = frames
        super().__init__(data_root, split, **kwargs)

    def read_annotation(self) -> ReIDAnnotation:
        """Read names and tracks in ``info``; see :meth:`ReIDDataset.read_annotation`."""
        root = locate_root(
            'MARS',
            self.data_root,
            self.FOLDER_NAMES,
            ['info'],
            'the folders info, bbox_train and bbox_test',
        )
        info = os.path.join(root, 'info')
        records: dict[str, list[ReIDRecord]] = {}
        listed: dict[str, list[str]] = {}
        notes: list[str] = []
        sources: dict[str, str] = {}
        for part, folder in FOLDERS.items():
            names_file = os.path.join(info, f'{part}_name.txt')
            tracks_file = os.path.join(info, f'tracks_{part}_info.mat')
            folder = os.path.join(root, folder)
            for role in ('train',) if part == 'train' else ('query', 'gallery'):
                sources[role] = f"'{names_file}', '{tracks_file}' and the folder '{folder}'"
            if not os.path.isfile(names_file) or not os.path.isdir(folder):
                continue
            names = read_text(names_file).split()
            tracks = self._read_tracks(tracks_file, f'track_{part}_info', len(names), names_file)
            for role, numbers in self._roles(part, info, len(tracks)).items():
                found: list[ReIDRecord] = []
                tracklets = 0
                for number in numbers:
                    start, end, person, camera = tracks[number].tolist()
                    if person == JUNK_ID:
                        continue
                    tracklets += 1
                    for name in self._spread(names[start - 1 : end]):
                        path = _check_name(name, person, camera, folder, names_file)
                        found.append(ReIDRecord(path, person, camera - 1, tracklet_id=number))
                records[role] = found
                listed[f'{names_file} ({role})'] = [record.img_path for record in found]
                official = _OFFICIAL[role]['tracklets']
                notes.append(f'{role}: {tracklets} tracklets (official: {official})')
        metainfo = {
            'protocol': 'tracklet to tracklet, mean features of '
            + ('all images' if self.frames is None else f'at most {self.frames} images'),
            'official_counts': {
                role: {'identities': known['identities']} for role, known in _OFFICIAL.items()
            },
        }
        return ReIDAnnotation(root, records, sources, metainfo, notes, listed)

    @staticmethod
    def _read_tracks(path: str, name: str, num_names: int, names_file: str) -> np.ndarray:
        (tracks,) = read_mat_integers(path, name)
        if tracks.ndim != 2 or tracks.shape[1] != 4:
            raise DatasetFormatError(
                f"'{path}': {name} must have four columns (first image, last image, person, "
                f'camera), but is of shape {tracks.shape}'
            )
        wrong = (tracks[:, 0] < 1) | (tracks[:, 1] < tracks[:, 0]) | (tracks[:, 1] > num_names)
        if wrong.any():
            row = int(wrong.nonzero()[0][0])
            raise DatasetFormatError(
                f"'{path}', tracklet {row + 1}: images {tracks[row, 0]} to {tracks[row, 1]} are "
                f"not in '{names_file}', which has {num_names} names: one of both is truncated"
            )
        return tracks

    @staticmethod
    def _roles(part: str, info: str, num_tracks: int) -> dict[str, list[int]]:
        if part == 'train':
            return {'train': [*range(num_tracks)]}
        path = os.path.join(info, 'query_IDX.mat')
        (queries,) = read_mat_integers(path, 'query_IDX')
        numbers = {int(number) - 1 for number in queries.flatten()}
        if outside := sorted(numbers - set(range(num_tracks))):
            raise DatasetFormatError(
                f"'{path}': query {outside[0] + 1} is none of the {num_tracks} test tracklets"
            )
        return {
            'query': sorted(numbers),
            'gallery': sorted(set(range(num_tracks)) - numbers),
        }

    def _spread(self, names: list[str]) -> list[str]:
        if self.frames is None or len(names) <= self.frames:
            return names
        # The middle of each of as many equal parts.
        places = (np.arange(self.frames) + 0.5) * len(names) / self.frames
        return [names[int(place)] for place in places]


def _check_name(name: str, person: int, camera: int, folder: str, names_file: str) -> str:
    """The path of an image, whose name tells the person and the camera of its tracklet."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise DatasetFormatError(
            f"{names_file}: file name '{name}' does not parse: expected such as "
            '0065C1T0002F0016.jpg'
        )
    if (int(match[1]), int(match[2])) != (person, camera):
        raise DatasetFormatError(
            f"{names_file}: '{name}' is in a tracklet of person {person} and camera {camera}: "
            'names and tracks belong to different releases, or a line is missing'
        )
    return os.path.join(folder, name[:4], name)
