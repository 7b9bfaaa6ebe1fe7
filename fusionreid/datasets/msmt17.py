"""MSMT17: its releases, its lists, and which images train."""

from __future__ import annotations

import os
from typing import Any

from fusionreid.errors import DatasetFormatError
from fusionreid.registry import DATASETS

from .annotation import ReIDAnnotation, ReIDRecord
from .base_reid_dataset import ReIDDataset
from .data_root import candidate_roots, layout_error
from .files import read_text

# release -> folders of the training (and validation) images and of the test images
RELEASES = {'V1': ('train', 'test'), 'V2': ('mask_train_v2', 'mask_test_v2')}
TRAIN_LISTS = {'train': ('list_train.txt',), 'train+val': ('list_train.txt', 'list_val.txt')}

_OFFICIAL_TRAIN_IMAGES = {'train': 30248, 'train+val': 32621}


@DATASETS.register_module()
class MSMT17(ReIDDataset):
    """MSMT17 (Wei et al., "Person Transfer GAN to Bridge Domain Gap for Person ReID", CVPR 2018).

    Two releases exist. V1 has the folders ``train`` and ``test``; V2, whose faces are blurred, has
    ``mask_train_v2`` and ``mask_test_v2``. Scores on them differ by 1 to 4 mAP, and so do scores
    after training on ``train`` and on ``train+val``: the metainfo states both.

    Args:
        data_root: ``MSMT17_V1``, ``MSMT17_V2``, ``MSMT17`` or ``msmt17``, or the folder that
            contains it.
        split: See :class:`ReIDDataset`.
        train_split: ``'train+val'`` (32,621 images; what the FusionReID authors and most
            transformer methods train on) or ``'train'`` (30,248 images); 1,041 identities each.
        release: ``'V1'`` or ``'V2'``; needed only where both are on disk.
        **kwargs: As in :class:`ReIDDataset`.
    """

    METAINFO = {'dataset_name': 'MSMT17', 'num_cameras': 15, 'official_counts': None}
    FOLDER_NAMES = ('msmt17', 'MSMT17', 'MSMT17_V1', 'MSMT17_V2')
    # Training and test identities are both numbered from 0.
    SHARED_ID_SPACE = False

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        train_split: str = 'train+val',
        release: str | None = None,
        **kwargs: Any,
    ) -> None:
        if train_split not in TRAIN_LISTS:
            raise ValueError(
                f'train_split must be one of {", ".join(TRAIN_LISTS)}, but is {train_split!r}'
            )
        if release is not None and release not in RELEASES:
            raise ValueError(
                f'release must be one of {", ".join(RELEASES)} or None, but is {release!r}'
            )
        self.train_split = train_split
        self.release = release
        super().__init__(data_root, split, **kwargs)

    def read_annotation(self) -> ReIDAnnotation:
        """Read the four list files; see :meth:`ReIDDataset.read_annotation`."""
        root, release = self._locate_release()
        train_folder, test_folder = (os.path.join(root, name) for name in RELEASES[release])
        lists = {
            'train': (train_folder, TRAIN_LISTS[self.train_split]),
            'query': (test_folder, ('list_query.txt',)),
            'gallery': (test_folder, ('list_gallery.txt',)),
        }
        sources: dict[str, str] = {}
        records: dict[str, list[ReIDRecord]] = {}
        listed: dict[str, list[str]] = {}
        for role, (folder, names) in lists.items():
            paths = [os.path.join(root, name) for name in names]
            sources[role] = f"{' and '.join(paths)} and the folder '{folder}'"
            if all(map(os.path.isfile, paths)) and os.path.isdir(folder):
                found = {path: _read_list(path, folder) for path in paths}
                records[role] = sorted(record for part in found.values() for record in part)
                listed |= {path: [r.img_path for r in part] for path, part in found.items()}
                _check_unique(records[role], ' and '.join(paths))
        official_train = {
            'identities': 1041,
            'images': _OFFICIAL_TRAIN_IMAGES[self.train_split],
            'cameras': 15,
        }
        metainfo = {
            'release': release,
            'train_split': self.train_split,
            'official_counts': {
                'train': official_train,
                'query': {'identities': 3060, 'images': 11659, 'cameras': 15},
                'gallery': {'identities': 3060, 'images': 82161, 'cameras': 15},
            },
        }
        notes = []
        if release == 'V2':
            notes.append('release V2 has blurred faces: not comparable with scores on V1')
        return ReIDAnnotation(root, records, sources, metainfo, notes, listed)

    def _locate_release(self) -> tuple[str, str]:
        found = [
            (root, release)
            for root in candidate_roots(self.data_root, self.FOLDER_NAMES)
            for release, folders in RELEASES.items()
            if _holds_lists(root) and any(os.path.isdir(os.path.join(root, f)) for f in folders)
        ]
        found = [entry for entry in found if self.release in (None, entry[1])]
        # What lies in the folder itself comes before what it holds as a parent.
        found = [e for e in found if e[0] == os.path.normpath(self.data_root)] or found
        if not found:
            folders = ' or '.join(
                f'{train}/ and {test}/ ({release})'
                for release, (train, test) in RELEASES.items()
                if self.release in (None, release)
            )
            raise layout_error(
                'MSMT17',
                self.data_root,
                self.FOLDER_NAMES,
                f'{folders} beside list_train.txt, list_val.txt, list_query.txt, list_gallery.txt',
            )
        if len(found) > 1:
            choices = ', '.join(f'{release} in {root}' for root, release in found)
            raise DatasetFormatError(
                f"MSMT17: data_root '{self.data_root}' may mean {choices}. Choose: set "
                f"release='V1' or release='V2', or set data_root to one folder."
            )
        return found[0]


def _holds_lists(root: str) -> bool:
    return any(
        os.path.isfile(os.path.join(root, f'list_{name}.txt'))
        for name in ('train', 'val', 'query', 'gallery')
    )


def _read_list(list_file: str, folder: str) -> list[ReIDRecord]:
    records = []
    for number, line in enumerate(read_text(list_file).splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.rsplit(maxsplit=1)
        if len(fields) != 2 or not fields[1].isdecimal():
            raise DatasetFormatError(
                f"{list_file}, line {number}: expected 'path id' with an identity of 0 or "
                f"more, but found '{line.strip()}'"
            )
        path = fields[0].strip()
        if os.path.isabs(path) or '..' in path.replace(os.sep, '/').split('/'):
            raise DatasetFormatError(
                f"{list_file}, line {number}: '{path}' leads out of the folder of the images"
            )
        name_fields = os.path.basename(path).split('_')
        if len(name_fields) < 3 or not name_fields[2].isdecimal():
            raise DatasetFormatError(
                f"{list_file}, line {number}: file name '{path}' does not parse: expected "
                f'the camera as the third field, as in 0000/0000_000_01_0303morning_0015_0.jpg'
            )
        records.append(
            ReIDRecord(os.path.join(folder, path), int(fields[1]), int(name_fields[2]) - 1)
        )
    if not records:
        raise DatasetFormatError(f"{list_file} is empty: expected a line 'path id' for each image")
    return records


def _check_unique(sorted_records: list[ReIDRecord], source: str) -> None:
    for previous, record in zip(sorted_records, sorted_records[1:], strict=False):
        if previous.img_path == record.img_path:
            raise DatasetFormatError(
                f"'{record.img_path}' is listed twice in {source}; remove one of the two lines."
            )
