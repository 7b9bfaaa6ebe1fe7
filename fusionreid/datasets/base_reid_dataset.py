"""What all data sets share: splits, labels, checks of what was read, items and the image cache."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from fusionreid.errors import ConfigError, DatasetFormatError, DatasetNotFoundError
from fusionreid.registry import TRANSFORMS
from fusionreid.workarounds.data_set_copies import SeparateCopies

from .annotation import ROLES, ReIDAnnotation
from .files import check_files_exist
from .image_cache import SharedImageCache
from .seeded_augmentation import seeded_augmentation
from .split_table import split_table
from .transforms import AntialiasedResize, LoadReIDImage

SPLITS = {
    'train': ('train',),
    'query': ('query',),
    'gallery': ('gallery',),
    'test': ('query', 'gallery'),
}

# A run builds the same data set two or three times (train, val, test) and shows its table once.
_shown_tables: set[str] = set()


class ReIDDataset(SeparateCopies, ABC):
    """A person re-identification data set: subclasses say how to read it, this class the rest.

    An item before the pipeline is ``dict(img_path, person_id, camera_id, role, sample_idx)``, with
    ``clothes_id``, ``tracklet_id`` and ``set_id`` where the data set tells them.
    In the split ``train`` identities are relabelled 0 to ``num_ids - 1`` in the order of their
    original ids; elsewhere they keep their original ids. Cameras are 0-based everywhere.

    The first data set of a kind in a process logs one table of all its splits, on rank 0.

    Args:
        data_root: The data set's folder, or its parent if the folder has one of
            ``FOLDER_NAMES``.
        split: ``'train'``, ``'query'``, ``'gallery'``, or ``'test'``: the queries followed
            by the gallery.
        pipeline: Transforms, or their configs.
        num_cameras: Cameras of the whole data set; ``None`` takes the number that
            the data set's publication gives, or else the largest camera id that occurs, plus one.
        dataset_name: Name in logs and tables; ``None`` takes the published name, or
            else that of the folder or of ``ann_file``.
        ann_file: A table or list, for data sets that have one, relative to ``data_root``.
        metainfo: Further metainfo, as in MMEngine.
        indices: Keep only these items, as in MMEngine. Labels,
            ``num_ids`` and the table stay those of the whole split.
        serialize_data: Hold the items in one buffer that workers share.
        cache_images: Keep every image decoded and resized in memory that all workers share,
            from its first use on. What comes after the resizing is drawn anew each time, so the
            items are the same with and without. The pipeline must begin with ``LoadReIDImage`` and
            ``AntialiasedResize``. The size is logged before anything is read; each process of
            distributed training has a cache of its own.
        cache_limit_gib: Refuse a larger cache, in GiB; ``None`` for all the shared
            memory that is free.
        lazy_init: Read nothing before ``full_init`` is called.
    """

    METAINFO: dict[str, Any] = {'dataset_name': None, 'num_cameras': None, 'official_counts': None}
    FOLDER_NAMES: tuple[str, ...] = ()
    # The number of camera 0 in file names or tables, and whether -1 may stand for "unknown" there.
    FIRST_CAMERA = 1
    UNKNOWN_CAMERA_ALLOWED = False
    # An identity that stands for "nobody in the query": kept in the gallery, not counted.
    DISTRACTOR_ID: int | None = None
    # Whether equal ids in training and test mean the same person.
    SHARED_ID_SPACE = True

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        pipeline: Sequence[dict[str, Any] | Callable[..., Any]] = (),
        num_cameras: int | None = None,
        dataset_name: str | None = None,
        ann_file: str = '',
        metainfo: Mapping[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        cache_images: bool = False,
        cache_limit_gib: float | None = None,
        lazy_init: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'split must be one of {", ".join(SPLITS)}, but is {split!r}')
        if num_cameras is not None and num_cameras < 1:
            raise ValueError(f'num_cameras must be at least 1 or None, but is {num_cameras!r}')
        self.split = split
        self.cache_images = cache_images
        self.cache_limit_gib = cache_limit_gib
        self._image_cache: SharedImageCache | None = None
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            data_root=data_root,
            data_prefix={},
            indices=indices,
            serialize_data=serialize_data,
            pipeline=[TRANSFORMS.build(t) if isinstance(t, dict) else t for t in pipeline],
            test_mode=split != 'train',
            lazy_init=True,
        )
        if cache_images and self.pipeline.transforms:
            self._check_cacheable()
        default_name = os.path.basename(os.path.abspath(data_root))
        if ann_file:
            default_name = os.path.splitext(os.path.basename(ann_file))[0]
        known = self._metainfo
        known.update(
            split=split,
            dataset_name=dataset_name or known['dataset_name'] or default_name,
            num_cameras=num_cameras or known['num_cameras'],
            release=known.get('release'),
            train_split=known.get('train_split'),
        )
        if not lazy_init:
            self.full_init()

    @abstractmethod
    def read_annotation(self) -> ReIDAnnotation:
        """Read every split of the data set that is on disk.

        Returns:
            The images of every role.

        Raises:
            DatasetNotFoundError: If the root or a file that it must contain is not there.
            DatasetFormatError: If a file name or a line cannot be understood.
        """

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read the data set, check it, log its table and list the items of the split.

        Returns:
            Items in a fixed order.

        Raises:
            DatasetNotFoundError: If the root, a folder of the split or a listed image is missing.
            DatasetFormatError: If a split is empty, a name or line cannot be understood, or a
                camera is out of range.
        """
        annotation = self.read_annotation()
        for list_file, paths in annotation.listed.items():
            check_files_exist(paths, list_file)
        self.data_root = annotation.root
        roles = SPLITS[self.split]
        for role in roles:
            if role not in annotation.records:
                needed = f'{annotation.sources.get(role)}, but that is missing'
                if role not in annotation.sources:
                    needed = f'{role} images, which this data set does not have'
                raise DatasetNotFoundError(
                    f"{self._metainfo['dataset_name']}: the split '{self.split}' needs {needed}."
                )
        for role, records in annotation.records.items():
            if not records:
                raise DatasetFormatError(
                    f"{self._metainfo['dataset_name']}: the split '{role}' is empty: no usable "
                    f'image in {annotation.sources[role]}. Images must lie directly in their '
                    f'folder and be listed where the data set has lists.'
                )
        self._check_cameras(annotation)
        labels = {person_id: person_id for role in roles for person_id in annotation.ids(role)}
        num_ids = len(labels)
        if self.split == 'train':
            labels = {person_id: label for label, person_id in enumerate(sorted(labels))}
        else:
            num_ids -= sum(distractor in labels for distractor in self._distractors(annotation))
        self._metainfo.update(annotation.metainfo)
        self._metainfo.update(
            data_root=annotation.root,
            num_ids=num_ids,
            counts=self._count(annotation),
            notes=self._notes(annotation),
        )
        self._log_table()
        return [
            {
                'img_path': record.img_path,
                'person_id': labels[record.person_id],
                'camera_id': record.camera_id,
                'role': role,
                **({'clothes_id': record.clothes_id} if record.clothes_id >= 0 else {}),
                **({'tracklet_id': record.tracklet_id} if record.tracklet_id >= 0 else {}),
                **({'set_id': record.set_id} if record.set_id >= 0 else {}),
            }
            for role in roles
            for record in annotation.records[role]
        ]

    def full_init(self) -> None:
        """Read the data set unless that is done, and reserve the memory of its image cache."""
        if not self._fully_initialized:
            super().full_init()
            self._reserve_image_cache()

    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep only some items, as in MMEngine; a cache of images starts anew.

        Args:
            indices: Positions; a number for the first, or, if negative, the
                last items.
        """
        super().get_subset_(indices)
        self._reserve_image_cache()

    def get_subset(self, indices: int | Sequence[int]) -> ReIDDataset:
        """Return a data set of some items, as in MMEngine, with an image cache of its own.

        Args:
            indices: As for :meth:`get_subset_`.

        Returns:
            The data set of these items.
        """
        subset = super().get_subset(indices)
        subset._reserve_image_cache()
        return subset

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one item.

        Args:
            idx: Position in the data set. If it carries an ``augment_seed``, as the indices
                of ``PKSampler`` do, the pipeline's randomness depends on that seed alone.

        Returns:
            What the pipeline returns.
        """
        data_info = self.get_data_info(int(idx))
        seed = getattr(idx, 'augment_seed', None)
        if seed is None:
            return self._run_pipeline(data_info)
        data_info['augment_seed'] = int(seed)
        with seeded_augmentation(data_info['augment_seed']):
            return self._run_pipeline(data_info)

    def _run_pipeline(self, results: dict[str, Any]) -> Any:
        cache = self._image_cache
        if cache is None:
            return self.pipeline(results)
        position, cached = results['sample_idx'], cache.get(results['sample_idx'])
        load, resize, *rest = self.pipeline.transforms
        if cached is None:
            results = resize(load(results))
            cache.put(position, results['img'], results['ori_shape'])
        else:
            results['img'], results['ori_shape'] = cached
            results['img_shape'] = results['img'].shape[:2]
        for transform in rest:
            results = transform(results)
            if results is None:
                break
        return results

    def _check_cacheable(self) -> None:
        first = [type(transform) for transform in self.pipeline.transforms[:2]]
        if first != [LoadReIDImage, AntialiasedResize]:
            raise ConfigError(
                'cache_images keeps images of one size, so the pipeline must begin with '
                'LoadReIDImage and AntialiasedResize, but it begins with '
                f'{", ".join(kind.__name__ for kind in first)}'
            )

    def _reserve_image_cache(self) -> None:
        self._image_cache = None
        if self.cache_images and self.pipeline.transforms:
            self._image_cache = SharedImageCache(
                len(self),
                self.pipeline.transforms[1].scale[::-1],
                f'{self._metainfo["dataset_name"]} {self.split}',
                self.cache_limit_gib,
            )

    def __getitem__(self, idx: int) -> Any:
        """Prepare one item; unlike MMEngine's, never another one in its place.

        Args:
            idx: Position in the data set.

        Returns:
            What the pipeline returns.

        Raises:
            ImageDecodeError: If the image cannot be decoded.
            RuntimeError: If the pipeline returns ``None``.
        """
        self.full_init()
        data = self.prepare_data(idx)
        if data is None:
            raise RuntimeError(
                f"the pipeline returned None for '{self.get_data_info(int(idx))['img_path']}'; "
                f'a transform must return the results, or raise'
            )
        return data

    @property
    def num_ids(self) -> int:
        """Identities of the split, distractors not counted."""
        self.full_init()
        return self._metainfo['num_ids']

    @property
    def num_cameras(self) -> int:
        """Cameras of the whole data set, whether or not all of them occur in the split."""
        self.full_init()
        return self._metainfo['num_cameras']

    @property
    def person_ids(self) -> np.ndarray:
        """Person id of every item, int64 of shape ``(len(self),)``; collected at each access."""
        return self._collect('person_id')

    @property
    def camera_ids(self) -> np.ndarray:
        """Camera id of every item, int64 of shape ``(len(self),)``; collected at each access."""
        return self._collect('camera_id')

    def _collect(self, key: str) -> np.ndarray:
        values = [self.get_data_info(idx)[key] for idx in range(len(self))]
        return np.array(values, dtype=np.int64)

    def _check_cameras(self, annotation: ReIDAnnotation) -> None:
        records = [r for role in annotation.records.values() for r in role]
        if self._metainfo['num_cameras'] is None:
            self._metainfo['num_cameras'] = max(record.camera_id for record in records) + 1
        num_cameras = self._metainfo['num_cameras']
        lowest = -1 if self.UNKNOWN_CAMERA_ALLOWED else 0
        for record in records:
            if not lowest <= record.camera_id < num_cameras:
                first, last = self.FIRST_CAMERA, num_cameras - 1 + self.FIRST_CAMERA
                unknown = ', or -1 for unknown' if self.UNKNOWN_CAMERA_ALLOWED else ''
                raise DatasetFormatError(
                    f"camera out of range: '{record.img_path}' is of camera "
                    f'{record.camera_id + first}, but {self._metainfo["dataset_name"]} has '
                    f'{num_cameras} cameras, numbered {first} to {last}{unknown}. Correct the '
                    f'file, or num_cameras in the config.'
                )

    def _distractors(self, annotation: ReIDAnnotation) -> set[int]:
        # Own data may number real people from 0: an identity with a query is no distractor.
        found = annotation.ids('gallery') - annotation.ids('query')
        return {person_id for person_id in found if person_id == self.DISTRACTOR_ID}

    def _count(self, annotation: ReIDAnnotation) -> dict[str, dict[str, int] | None]:
        counts: dict[str, dict[str, int] | None] = {}
        for role in ROLES:
            if role not in annotation.records:
                counts[role] = None
                continue
            distractors = self._distractors(annotation) if role == 'gallery' else set()
            records = annotation.records[role]
            counts[role] = {
                'identities': len(annotation.ids(role) - distractors),
                'images': len(records),
                'cameras': len({record.camera_id for record in records} - {-1}),
            }
        return counts

    def _notes(self, annotation: ReIDAnnotation) -> list[str]:
        notes = list(annotation.notes)
        for distractor in self._distractors(annotation):
            kept = sum(record.person_id == distractor for record in annotation.records['gallery'])
            notes.append(
                f'gallery: {kept} images of id {distractor} (distractors) kept; not counted as an '
                f'identity'
            )
        if self.SHARED_ID_SPACE:
            shared = annotation.ids('train') & annotation.ids('query')
            if shared:
                notes.append(
                    f'{len(shared)} identities are in train and in query (the first: '
                    f'{min(shared)}), so scores are not those of unseen people'
                )
        return notes

    def _log_table(self) -> None:
        table = split_table(self._metainfo)
        if table not in _shown_tables:
            _shown_tables.add(table)
            if is_main_process():
                print_log(table, logger='current')
