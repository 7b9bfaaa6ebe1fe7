"""Data sets laid out as Market-1501: three folders, identity and camera in the file names."""

from __future__ import annotations

import os
import re

from fusionreid.errors import DatasetFormatError
from fusionreid.registry import DATASETS

from .annotation import ReIDAnnotation, ReIDRecord
from .base_reid_dataset import ReIDDataset
from .data_root import candidate_roots, layout_error
from .image_listing import ImageListing, first_names, list_images

FOLDERS = {'train': 'bounding_box_train', 'query': 'query', 'gallery': 'bounding_box_test'}
JUNK_ID = -1

_NAME = re.compile(r'(-1|\d+)_c(\d+)(?:\D.*)?\.\w+')


def parse_market_name(name: str) -> tuple[int, int]:
    """Read identity and camera from a file name in Market-1501's manner.

    Args:
        name: Such as ``0002_c1s1_000451_03.jpg`` or ``0001_c2_f0046182.jpg``:
            the identity, ``_c``, the 1-based camera, then anything that begins with no digit.

    Returns:
        The identity (-1 for junk) and the 0-based camera.

    Raises:
        DatasetFormatError: If the name does not follow the pattern.

    Example:
        >>> parse_market_name('0002_c1s1_000451_03.jpg')
        (2, 0)
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise DatasetFormatError(
            f"file name '{name}' does not parse: expected <identity>_c<camera>..., such as "
            f'0002_c1s1_000451_03.jpg or 0002_c1.jpg'
        )
    return int(match[1]), int(match[2]) - 1


@DATASETS.register_module()
class MarketStyleDataset(ReIDDataset):
    """Any images laid out and named as in Market-1501.

    The folders are ``bounding_box_train``, ``query`` and ``bounding_box_test``, the names begin
    with ``<identity>_c<camera>``, cameras counting from 1. Images of identity -1 (junk) are
    dropped; identity 0 in the gallery stands for distractors, which match no query.

    Args:
        data_root: The folder that contains the three folders.
        **kwargs: As in :class:`ReIDDataset`. ``dataset_name`` defaults to the folder's name.
    """

    DISTRACTOR_ID: int | None = 0

    def read_annotation(self) -> ReIDAnnotation:
        """Read the three folders' file names; see :meth:`ReIDDataset.read_annotation`."""
        root = self._locate_root()
        sources = {
            role: f"the folder '{os.path.join(root, name)}'" for role, name in FOLDERS.items()
        }
        records: dict[str, list[ReIDRecord]] = {}
        notes: list[str] = []
        for role, name in FOLDERS.items():
            folder = os.path.join(root, name)
            if not os.path.isdir(folder):
                continue
            listing = list_images(folder)
            found = _read_names(listing)
            notes += [f'{role}: {line}' for line in listing.summary()]
            records[role] = [record for record in found if record.person_id != JUNK_ID]
            num_junk = len(found) - len(records[role])
            if num_junk:
                notes.append(f'{role}: {num_junk} images of id {JUNK_ID} (junk) dropped')
        return ReIDAnnotation(root, records, sources, notes=notes)

    def _locate_root(self) -> str:
        roots = [
            root
            for root in candidate_roots(self.data_root, self.FOLDER_NAMES)
            if any(os.path.isdir(os.path.join(root, name)) for name in FOLDERS.values())
        ]
        dataset_name = self._metainfo['dataset_name']
        if not roots:
            layout = f'the folders {", ".join(FOLDERS.values())}'
            raise layout_error(dataset_name, self.data_root, self.FOLDER_NAMES, layout)
        if len(roots) > 1 and roots[0] != os.path.normpath(self.data_root):
            raise DatasetFormatError(
                f"{dataset_name}: data_root '{self.data_root}' may mean {' or '.join(roots)}; "
                f'set data_root to one of them.'
            )
        return roots[0]


def _read_names(listing: ImageListing) -> list[ReIDRecord]:
    records: list[ReIDRecord] = []
    problems: list[str] = []
    others: list[str] = []
    for path in listing.paths:
        name = os.path.basename(path)
        try:
            records.append(ReIDRecord(path, *parse_market_name(name)))
        except DatasetFormatError as error:
            (others if problems else problems).append(name if problems else str(error))
    if problems:
        also = f' (and {len(others)} others: {first_names(others)})' if others else ''
        raise DatasetFormatError(
            f'in {listing.folder}: {problems[0]}{also}. Rename or remove the file.'
        )
    return records
