"""Small data sets that are scored over ten random halves of their people."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from .annotation import ROLES, ReIDAnnotation, ReIDRecord
from .base_reid_dataset import ReIDDataset
from .repeated_splits import NUM_SPLITS, join_splits


class RandomSplitDataset(ReIDDataset):
    """A small data set with ten random splits of its people into training and test.

    By default it is a test set: it holds the images of all ten splits, each once, and
    ``ReIDMetric`` gives the mean and the deviation of the scores over the splits. There is nothing
    to train on, as each person is tested in some split. With ``split_index`` it is one of the
    splits, with its training images.

    The splits depend on ``seed`` alone; those of other code are drawn otherwise, so that single
    splits are not comparable, while the mean is.

    Args:
        data_root: The folder.
        split: See :class:`ReIDDataset`.
        split_index: 0 to 9 for one split; None for all of them, to be scored together.
        seed: What the random splits are drawn from.
        **kwargs: As in :class:`ReIDDataset`.
    """

    # Official counts of one split, and of all ten together.
    COUNTS_OF_ONE: dict[str, dict[str, int]] = {}
    COUNTS_OF_ALL: dict[str, dict[str, int]] = {}

    def __init__(
        self,
        data_root: str,
        split: str = 'test',
        split_index: int | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if split_index is not None and split_index not in range(NUM_SPLITS):
            raise ValueError(
                f'split_index must be 0 to {NUM_SPLITS - 1} or None for all splits, but is '
                f'{split_index!r}'
            )
        self.split_index = split_index
        self.seed = seed
        super().__init__(data_root, split, **kwargs)

    @abstractmethod
    def read_images(self) -> tuple[str, list[ReIDRecord], list[str]]:
        """Read all images.

        Returns:
            The folder that was read, its images, and sentences for the split table.
        """

    @abstractmethod
    def divide(
        self, images: Sequence[ReIDRecord], index: int, random: np.random.Generator
    ) -> dict[str, list[ReIDRecord]]:
        """Draw one split.

        Args:
            images: All images.
            index: Number of the split.
            random: Where the draws come from.

        Returns:
            The images of each role.
        """

    def describe_splits(self) -> str:
        """Say what the ten splits are."""
        return f'{NUM_SPLITS} random splits (seed {self.seed})'

    def read_annotation(self) -> ReIDAnnotation:
        """Read the images and draw the splits; see :meth:`ReIDDataset.read_annotation`."""
        root, images, notes = self.read_images()
        splits = [
            {
                role: sorted(records)
                for role, records in self.divide(
                    images, index, np.random.default_rng([self.seed, index])
                ).items()
            }
            for index in range(NUM_SPLITS)
        ]
        sources = dict.fromkeys(ROLES, f"the images in '{root}'")
        if self.split_index is not None:
            notes.append(f'split {self.split_index} of the {self.describe_splits()}')
            counts = {'official_counts': self.COUNTS_OF_ONE}
            return ReIDAnnotation(root, splits[self.split_index], sources, counts, notes)
        records, test_splits = join_splits(splits, self.describe_splits())
        notes.append(f'scores are means over {self.describe_splits()}')
        sources['train'] = f'one split, split_index=0 to {NUM_SPLITS - 1}'
        metainfo: dict[str, Any] = {'official_counts': self.COUNTS_OF_ALL}
        if self.split == 'test':
            metainfo['test_splits'] = test_splits
        return ReIDAnnotation(root, records, sources, metainfo, notes)
