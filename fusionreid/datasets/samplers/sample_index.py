"""How an index carries the seed of its sample's augmentation to the worker."""

from __future__ import annotations

from typing import SupportsInt


class SampleIndex(int):
    """Index into a data set that carries the seed of the sample's random augmentation.

    A data loader hands it on to the worker as it is, so the augmentation depends on what the
    sampler decided and not on the worker or process that happens to load the image.

    Args:
        index: Position in the data set.
        augment_seed: Seed in ``[0, 2**32)``.

    Example:
        >>> index = SampleIndex(3, augment_seed=17)
        >>> 'abcd'[index], index.augment_seed
        ('d', 17)
    """

    augment_seed: int

    def __new__(cls, index: SupportsInt, augment_seed: int = 0) -> SampleIndex:  # noqa: D102
        self = super().__new__(cls, index)
        self.augment_seed = augment_seed
        return self
