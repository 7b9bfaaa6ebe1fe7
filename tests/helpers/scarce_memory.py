"""A device that is out of memory, as CUDA's allocator says it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor

from fusionreid.evaluation.functional import distances, ranking


@contextmanager
def no_memory_for_more_than(rows: int) -> Iterator[list[int]]:
    """Refuse memory for more rows of products, or of given distances, at once.

    Yields:
        Rows of each time that it was refused.
    """
    refused: list[int] = []

    def check(count: int) -> None:
        if count > rows:
            refused.append(count)
            raise torch.cuda.OutOfMemoryError('CUDA out of memory')

    block, own_copy = distances.FeatureKeys.block, ranking.own_copy

    def small_block(self: distances.FeatureKeys, wanted: slice, out: Tensor) -> Tensor:
        check(wanted.stop - wanted.start)
        return block(self, wanted, out)

    def small_copy(values: Tensor) -> Tensor:
        check(len(values))
        return own_copy(values)

    with (
        mock.patch.object(distances.FeatureKeys, 'block', small_block),
        mock.patch.object(ranking, 'own_copy', small_copy),
    ):
        yield refused
