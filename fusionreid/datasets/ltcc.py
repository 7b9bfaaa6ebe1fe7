"""LTCC: people who change their clothes, which the file names tell."""

from __future__ import annotations

import re

from fusionreid.registry import DATASETS

from .market_style_dataset import MarketStyleDataset
from .named_images import parse_path

MAX_OUTFITS = 1000  # of one person, so that a number of clothes belongs to one person
_NAME = re.compile(r'(\d+)_(\d{1,3})_c(\d+)_\w+\.\w+')


def parse_ltcc_name(name: str) -> tuple[int, int, int]:
    """Read identity, camera and clothes from a file name of LTCC.

    Args:
        name: Such as ``094_1_c9_015923.png``: identity, outfit of this person, 1-based camera.

    Returns:
        The identity, the 0-based camera, and a number of these clothes on this person.

    Raises:
        DatasetFormatError: If the name does not follow the pattern.

    Example:
        >>> parse_ltcc_name('094_1_c9_015923.png')
        (94, 8, 94001)
    """
    match = parse_path(_NAME, name, '094_1_c9_015923.png')
    person, outfit, camera = map(int, match.groups())
    return person, camera - 1, MAX_OUTFITS * person + outfit


@DATASETS.register_module()
class LTCC(MarketStyleDataset):
    """LTCC (Qian et al., "Long-Term Cloth-Changing Person Re-identification", ACCV 2020).

    The clothes-changing protocol is ``ReIDMetric(remove_same_clothes=True)``: gallery images of the
    query's person in the query's camera, and those in the query's clothes, are removed. The
    standard protocol is the metric's default. Training uses all 77 people.

    Args:
        data_root: ``LTCC_ReID``, or the folder that contains it, with ``train``, ``query`` and
            ``test``.
        **kwargs: As in :class:`ReIDDataset`.
    """

    METAINFO = {
        'dataset_name': 'LTCC',
        'num_cameras': 12,
        'protocol': 'standard, or clothes-changing with remove_same_clothes=True of the metric',
        'official_counts': {
            'train': {'identities': 77, 'images': 9576},
            'query': {'identities': 75, 'images': 493},
            'gallery': {'identities': 75, 'images': 7050},
        },
    }
    FOLDER_NAMES = ('ltcc', 'LTCC_ReID', 'LTCC')
    FOLDERS = {'train': 'train', 'query': 'query', 'gallery': 'test'}
    DISTRACTOR_ID = None
    # Whether training and test people are numbered together is not documented.
    SHARED_ID_SPACE = False
    parse_name = staticmethod(parse_ltcc_name)
