"""Which images make a batch: P identities with K images each, planned from seed and epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence, Sized
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch import Tensor
from torch.utils.data import Sampler

from fusionreid.errors import ConfigError
from fusionreid.registry import DATA_SAMPLERS

from .sample_index import SampleIndex
from .shared_batches import plan_shared_batches, share_identities


def _list_ids(dataset: Any, id_key: str, ids: Sequence[Hashable] | Tensor | None) -> list[Any]:
    """List the identities of all images, as whole numbers unless they are texts."""
    if ids is not None:
        if len(ids) != len(dataset):
            raise ConfigError(f'{len(ids)} ids for a data set of {len(dataset)} images')
        return [_identity(person, 'ids') for person in ids]
    if not hasattr(dataset, 'get_data_info'):
        raise ConfigError(
            f'{type(dataset).__name__} has no get_data_info(index), as data sets of MMEngine have: '
            'give the identity of each image by ids=[...]'
        )
    found = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        if id_key not in info:
            raise ConfigError(
                f'items of {type(dataset).__name__} have no {id_key!r}: set id_key of the sampler '
                f'to one of {", ".join(map(str, info))}'
            )
        found.append(_identity(info[id_key], id_key))
    return found


def _identity(value: Any, key: str) -> Any:
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    if array.size != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ConfigError(f'{key} must be one identity for each image, got {value!r:.80}')
    return int(array.item())


@DATA_SAMPLERS.register_module()
class PKSampler(Sampler[SampleIndex]):
    """Identity-balanced (PK) sampling: batches of P identities with K images each.

    Every process gets such batches. The batches of an epoch depend on seed and epoch alone. With
    several processes each one gets whole identities, all get the same number of batches, and no
    image group is given to two of them.

    Args:
        dataset: A data set of MMEngine, or a wrapper of several, whose ``get_data_info`` tells the
            identity; or any data set, with ``ids``.
        ids_per_batch: P, identities in a batch of one process.
        instances_per_id: K, images of each.
        seed: Seed of the sampling; None draws one that all processes share.
        id_key: Key of the identity in the data set's items. Defaults to ``'person_id'``;
            mmpretrain's data sets use ``'gt_label'``.
        ids: Identity of each image, for data sets that are none of MMEngine's, such as the
            ``targets`` of torchvision's.
        by: How a batch is shared among the sets of a
            :class:`~fusionreid.datasets.joint_dataset.JointDataset`: ``'images'`` (default), as
            they come, so that large sets give more; ``'sets'``, each set as many identities; or a
            weight for each set. But for the first, an epoch ends with the set that lasts longest,
            and the others start over.

    Raises:
        ConfigError: If P or K is below 2, all processes together want more identities than there
            are, an item has no identity, or a batch cannot be shared as wanted.

    Example:
        >>> class Items(list):
        ...     def get_data_info(self, index):
        ...         return self[index]
        >>> dataset = Items(dict(person_id=index // 4) for index in range(12))
        >>> sampler = PKSampler(dataset, ids_per_batch=2, instances_per_id=2, seed=0)
        >>> sampler.batch_size, [dataset[index]['person_id'] for index in sampler][:4]
        (4, [1, 1, 2, 2])
        >>> len(PKSampler(range(6), 2, 2, seed=0, ids=['ann', 'ann', 'ann', 'bob', 'bob', 'bob']))
        4
    """

    def __init__(
        self,
        dataset: Sized,
        ids_per_batch: int,
        instances_per_id: int,
        seed: int | None = None,
        id_key: str = 'person_id',
        ids: Sequence[Hashable] | Tensor | None = None,
        by: str | Sequence[float] = 'images',
    ) -> None:
        if ids_per_batch < 2 or instances_per_id < 2:
            raise ConfigError(
                'ids_per_batch and instances_per_id must be at least 2, or no image has a negative '
                f'or a positive in its batch, got {ids_per_batch} and {instances_per_id}'
            )
        self.rank, self.world_size = get_dist_info()
        self.ids_per_batch = ids_per_batch
        self.instances_per_id = instances_per_id
        self.seed = sync_random_seed() if seed is None else seed
        self.images_of: dict[Any, list[int]] = {}
        for index, person in enumerate(_list_ids(dataset, id_key, ids)):
            self.images_of.setdefault(person, []).append(index)
        wanted = ids_per_batch * self.world_size
        if wanted > len(self.images_of):
            raise ConfigError(
                f'{ids_per_batch} identities per batch x {self.world_size} process(es) need '
                f'{wanted} identities, the training set has {len(self.images_of)}: lower '
                'ids_per_batch (and batch_size = ids_per_batch x instances_per_id) or use fewer '
                'processes'
            )
        self._sets, self._ids_of_sets = [self.images_of], [ids_per_batch]
        if by != 'images':
            self._share(dataset, by)
        self.set_epoch(0)

    def _share(self, dataset: Any, by: str | Sequence[float]) -> None:
        """Share the identities of a batch among the sets that a data set joins."""
        joined = getattr(dataset, 'metainfo', {}).get('joined')
        if joined is None:
            raise ConfigError(
                f'by={by!r} shares a batch among the sets of a JointDataset, but the training set '
                f"is a {type(dataset).__name__}: leave it at 'images'"
            )
        weights = [1.0] * len(joined) if by == 'sets' else by
        if isinstance(weights, str) or len(weights) != len(joined):
            raise ConfigError(
                f"by must be 'images', 'sets' or a weight for each of the {len(joined)} data sets "
                f'{", ".join(each.name for each in joined)}, got {by!r}'
            )
        self._ids_of_sets = share_identities(self.ids_per_batch, weights)
        self._sets = [
            {person: self.images_of[person] for person in each.ids if person in self.images_of}
            for each in joined
        ]

    @property
    def batch_size(self) -> int:
        """Images in a batch of one process: P x K."""
        return self.ids_per_batch * self.instances_per_id

    def set_epoch(self, epoch: int) -> None:
        """Plan the batches of an epoch; called by mmengine before each one.

        Args:
            epoch: Epoch, from 0.
        """
        self.epoch = epoch
        batches = plan_shared_batches(
            self._sets,
            self._ids_of_sets,
            self.world_size,
            self.instances_per_id,
            np.random.default_rng((self.seed, epoch)),
        )
        self._indices = batches[:, self.rank].reshape(-1).tolist()
        self._skipped = 0

    def skip(self, count: int) -> None:
        """Leave out the first images of the epoch; the others stay as they are.

        Args:
            count: How many, until the next :meth:`set_epoch`. The length does not change.
        """
        self._skipped = count

    def __iter__(self) -> Iterator[SampleIndex]:
        occurrences: Counter[int] = Counter()
        for position, index in enumerate(self._indices):
            # An image that is drawn twice in an epoch is augmented in two ways.
            entropy = (self.seed, self.epoch, index, occurrences[index])
            occurrences[index] += 1
            if position < self._skipped:
                continue
            yield SampleIndex(index, int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def __len__(self) -> int:
        """Images that this process sees in the current epoch."""
        return len(self._indices)
