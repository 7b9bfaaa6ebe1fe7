"""Partial-REID: parts of people as queries, whole people in the gallery."""

from __future__ import annotations

from typing import Any

from fusionreid.registry import DATASETS

from .annotation import ReIDAnnotation
from .occluded_reid import OccludedREID

QUERIES = {'partial': 'partial_body_images', 'occluded': 'occluded_body_images'}


@DATASETS.register_module()
class PartialREID(OccludedREID):
    """Partial-REID (Zheng et al., "Partial Person Re-identification", ICCV 2015).

    A test set of 60 people, with five images of each in ``partial_body_images`` (parts cut out by
    hand), ``occluded_body_images`` and ``whole_body_images``. The cameras are unknown, so that no
    match is removed.

    Args:
        data_root: ``Partial-REID_Dataset``, or the folder that contains it.
        split: ``'query'``, ``'gallery'`` or ``'test'``.
        queries: ``'partial'``, as most publications take them, or ``'occluded'``.
        **kwargs: As in :class:`ReIDDataset`.
    """

    METAINFO = {
        'dataset_name': 'Partial-REID',
        'num_cameras': None,
        'official_counts': {
            'query': {'identities': 60, 'images': 300, 'cameras': 0},
            'gallery': {'identities': 60, 'images': 300, 'cameras': 0},
        },
    }
    FOLDER_NAMES = ('partial-reid', 'Partial-REID_Dataset', 'Partial_REID', 'PartialREID')

    def __init__(
        self, data_root: str, split: str = 'test', queries: str = 'partial', **kwargs: Any
    ) -> None:
        if queries not in QUERIES:
            raise ValueError(f'queries must be one of {", ".join(QUERIES)}, but is {queries!r}')
        self.queries = queries
        self.FOLDERS = {**OccludedREID.FOLDERS, 'query': QUERIES[queries]}
        super().__init__(data_root, split, **kwargs)

    def read_annotation(self) -> ReIDAnnotation:
        """Read both folders; see :meth:`ReIDDataset.read_annotation`."""
        annotation = super().read_annotation()
        annotation.metainfo['protocol'] = (
            f'{self.queries} queries, whole people in the gallery; no camera rule'
        )
        return annotation
