"""Several data sets as one to train on: their people and cameras numbered one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fusionreid.errors import ConfigError
from fusionreid.registry import DATASETS
from fusionreid.utils.tables import format_table

from .annotation import ReIDAnnotation, ReIDRecord
from .base_reid_dataset import ReIDDataset

CAMERAS = ('own', 'set')
IMAGES = ('train', 'all')


@dataclass(frozen=True)
class JoinedSet:
    """Where the people and cameras of a data set are among those of all.

    Attributes:
        name: The data set's name.
        first_id: Training identity of its first person.
        num_ids: Its training identities.
        first_camera: Number of its first camera.
        num_cameras: Its cameras; 1 where they count as one.
        num_images: Its training images.
    """

    name: str
    first_id: int
    num_ids: int
    first_camera: int
    num_cameras: int
    num_images: int

    @property
    def ids(self) -> range:
        """Its training identities."""
        return range(self.first_id, self.first_id + self.num_ids)


@DATASETS.register_module()
class JointDataset(ReIDDataset):
    """The training images of several data sets, as one training set.

    Nobody is in two of them: each set's identities follow those of the set before, and so do its
    cameras. The table of both is logged before the first step; ``metainfo['joined']`` has it. What
    two sets are known to share is told by ``fusionreid check-dataset``, which finds equal images.

    Args:
        datasets: Configs of the data sets, without pipelines.
        cameras: ``'own'`` (default): every camera of every set has a number, and so an embedding,
            of its own. ``'set'``: the cameras of a set count as one.
        images: ``'train'`` (default), or ``'all'``: also those that a set has for testing, but for
            distractors, as some protocols of domain generalization train. The people of both are
            others.
        data_root: Not taken: each data set has its own.
        split: ``'train'``: the sets are scored one by one.
        **kwargs: As of :class:`ReIDDataset`.

    Raises:
        ConfigError: If there are no data sets, or an argument is not what is described.
    """

    UNKNOWN_CAMERA_ALLOWED = True

    def __init__(
        self,
        datasets: Sequence[dict[str, Any]],
        cameras: str = 'own',
        images: str = 'train',
        data_root: str = '',
        split: str = 'train',
        **kwargs: Any,
    ) -> None:
        if not datasets:
            raise ConfigError('JointDataset needs a data set in datasets')
        if cameras not in CAMERAS:
            raise ConfigError(f'cameras of JointDataset must be one of {CAMERAS}, got {cameras!r}')
        if images not in IMAGES:
            raise ConfigError(f'images of JointDataset must be one of {IMAGES}, got {images!r}')
        if split != 'train':
            raise ConfigError(
                f'JointDataset is for training, but its split is {split!r}: score the data sets '
                'one by one, by --datasets of fusionreid test'
            )
        self.cameras, self.images = cameras, images
        if data_root:
            raise ConfigError(
                f'JointDataset has no data_root of its own, got {data_root!r}: give one to each of '
                'its datasets'
            )
        self.datasets = [self._build(config, 'train') for config in datasets]
        self._configs = datasets
        names = ' + '.join(each.metainfo['dataset_name'] for each in self.datasets)
        kwargs.setdefault('dataset_name', names)
        super().__init__(data_root, split, **kwargs)

    @staticmethod
    def _build(config: dict[str, Any], split: str) -> ReIDDataset:
        dataset = DATASETS.build(dict(config, split=split, pipeline=[], lazy_init=True))
        if not isinstance(dataset, ReIDDataset) or isinstance(dataset, JointDataset):
            raise ConfigError(
                f'JointDataset joins data sets that read images, got {type(dataset).__name__}'
            )
        return dataset

    def read_annotation(self) -> ReIDAnnotation:
        """Read the training images of all data sets.

        Returns:
            Them, with the people of each set numbered after those of the set before.

        Raises:
            DatasetNotFoundError: If one of them is not there.
            DatasetFormatError: If one of them cannot be understood, or is empty.
        """
        joined: list[JoinedSet] = []
        records: list[ReIDRecord] = []
        first_id = first_camera = 0
        pairs = zip(self.datasets, self._configs, strict=True)
        for number, (dataset, config) in enumerate(pairs):
            dataset.full_init()  # which checks it, and logs its own table
            own_cameras = dataset.num_cameras if self.cameras == 'own' else 1
            items = [dataset.get_data_info(index) for index in range(len(dataset))]
            num_ids = dataset.num_ids
            if self.images == 'all':
                tested = self._tested_items(dataset, config)
                items += tested
                num_ids += len({item['person_id'] for item in tested})
            for item in items:
                camera = item['camera_id']
                if self.cameras == 'set':
                    camera = first_camera
                elif camera >= 0:  # -1 stands for an unknown one
                    camera += first_camera
                person = item['person_id'] + first_id
                records.append(ReIDRecord(item['img_path'], person, camera, set_id=number))
            joined.append(
                JoinedSet(
                    dataset.metainfo['dataset_name'],
                    first_id,
                    num_ids,
                    first_camera,
                    own_cameras,
                    len(items),
                )
            )
            first_id += num_ids
            first_camera += own_cameras
        self._metainfo['num_cameras'] = self._metainfo['num_cameras'] or first_camera
        return ReIDAnnotation(
            root=', '.join(each.data_root for each in self.datasets),
            records=dict(train=records),
            sources=dict(train='the data sets that are joined'),
            metainfo=dict(joined=joined),
            notes=joined_table(joined).splitlines(),
        )

    def _tested_items(self, dataset: ReIDDataset, config: dict[str, Any]) -> list[dict[str, Any]]:
        """Items of a set's test, with people numbered after those of its training."""
        if not dataset.metainfo['counts'].get('query'):
            return []  # a source of training images, such as CUHK02
        tested = self._build(config, 'test')
        tested.full_init()
        items = [tested.get_data_info(index) for index in range(len(tested))]
        queried = {item['person_id'] for item in items if item['role'] == 'query'}
        strangers = {dataset.DISTRACTOR_ID} - queried
        items = [item for item in items if item['person_id'] not in strangers]
        people = sorted({item['person_id'] for item in items})
        labels = {person: dataset.num_ids + label for label, person in enumerate(people)}
        return [dict(item, person_id=labels[item['person_id']]) for item in items]

    def _count(self, annotation: ReIDAnnotation) -> dict[str, dict[str, int] | None]:
        return dict(train=super()._count(annotation)['train'])  # the others are not asked for


def joined_table(joined: Sequence[JoinedSet]) -> str:
    """Lay out where the people and cameras of each set are among those of all.

    Args:
        joined: The sets.

    Returns:
        Lines of text.

    Example:
        >>> print(joined_table([JoinedSet('a', 0, 751, 0, 6, 12936)]))
        set  images  identities  as       cameras  as
        a     12936         751  0 - 750        6  0 - 5
    """
    rows = [['set', 'images', 'identities', 'as', 'cameras', 'as']]
    for each in joined:
        last_id = each.first_id + each.num_ids - 1
        last_camera = each.first_camera + each.num_cameras - 1
        rows.append(
            [
                each.name,
                str(each.num_images),
                str(each.num_ids),
                f'{each.first_id} - {last_id}',
                str(each.num_cameras),
                f'{each.first_camera} - {last_camera}',
            ]
        )
    return format_table(rows)
