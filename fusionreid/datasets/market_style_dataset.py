"""Data sets laid out as Market-1501: three folders, identity and camera in the file names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from fusionreid.errors import DatasetFormatError
from fusionreid.registry import DATASETS

from .annotation import ReIDAnnotation, ReIDRecord
from .base_reid_dataset import ReIDDataset
from .data_root import locate_root
from .image_listing import list_images
from .named_images import NameParser, read_named_images

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
    # For data sets that differ in no more than names: the folder of each role, whether images lie
    # in folders below it, and what reads a path below it.
    FOLDERS: Mapping[str, str] = FOLDERS
    BELOW = False
    parse_name: NameParser = staticmethod(parse_market_name)

    def read_annotation(self) -> ReIDAnnotation:
        """Read the names of the folders' files; see :meth:`ReIDDataset.read_annotation`."""
        root = locate_root(
            self._metainfo['dataset_name'],
            self.data_root,
            self.FOLDER_NAMES,
            list(self.FOLDERS.values()),
        )
        sources = {
            role: f"the folder '{os.path.join(root, name)}'" for role, name in self.FOLDERS.items()
        }
        records: dict[str, list[ReIDRecord]] = {}
        notes: list[str] = []
        for role, name in self.FOLDERS.items():
            folder = os.path.join(root, name)
            if not os.path.isdir(folder):
                continue
            listing = list_images(folder, self.BELOW)
            found = read_named_images(listing, self.parse_name)
            notes += [f'{role}: {line}' for line in listing.summary()]
            records[role] = [record for record in found if record.person_id != JUNK_ID]
            num_junk = len(found) - len(records[role])
            if num_junk:
                notes.append(f'{role}: {num_junk} images of id {JUNK_ID} (junk) dropped')
        return ReIDAnnotation(root, records, sources, notes=notes)
