"""Distances that are given: a matrix, an array on disk, or blocks of rows one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from .errors import ScoringInputError


def distance_blocks(distances: Any, num_query: int, num_gallery: int) -> Iterator[Any]:
    """Take distances apart into blocks of rows, and check their shapes.

    Args:
        distances: A tensor or array-like of shape (q, g), or an iterator of row blocks (r, g).
        num_query: Number of queries q.
        num_gallery: Number of gallery entries g.

    Returns:
        Blocks that have a row each, q rows together; checked while they are taken.

    Raises:
        ScoringInputError: Shapes that do not fit, or nothing to rank.
    """
    if num_query == 0 or num_gallery == 0:
        raise ScoringInputError(
            f'{num_query} queries and {num_gallery} gallery entries: nothing to rank'
        )
    shape = getattr(distances, 'shape', None)
    if shape is not None and tuple(shape) != (num_query, num_gallery):
        raise ScoringInputError(
            f'distances have shape {tuple(shape)}, expected ({num_query}, {num_gallery}) '
            'from the numbers of query_ids and gallery_ids'
        )
    return _checked(distances if shape is None else [distances], num_query, num_gallery)


def _checked(blocks: Iterable[Any], num_query: int, num_gallery: int) -> Iterator[Any]:
    done = 0
    for block in blocks:
        shape = tuple(getattr(block, 'shape', ()))
        if len(shape) != 2 or shape[1] != num_gallery:
            raise ScoringInputError(
                f'expected blocks of distances of shape (r, {num_gallery}), got '
                + (f'shape {shape}' if shape else type(block).__name__)
            )
        done += shape[0]
        if done > num_query:
            raise ScoringInputError(
                f'the blocks hold {done} or more rows for {num_query} query_ids'
            )
        if shape[0]:
            yield block
        del block
    if done != num_query:
        raise ScoringInputError(f'the blocks hold {done} rows for {num_query} query_ids')


def check_no_nan(keys: Tensor, first: int) -> None:
    """Check that rows of distances hold no NaN.

    Args:
        keys: The rows, (S, g).
        first: Number of the query of the first row.

    Raises:
        ScoringInputError: One does; its query is named.
    """
    bad = keys.isnan().any(1).nonzero().flatten()
    if len(bad):
        raise ScoringInputError(f'the distances of query {first + int(bad[0])} hold a NaN')


def own_copy(block: Any) -> Tensor:
    """Copy rows of distances.

    Args:
        block: A tensor, or an array of any type and order in memory.

    Returns:
        A contiguous float32 or float64 tensor that may be written to.
    """
    if isinstance(block, Tensor):
        copy = block.clone()
    else:
        # Rows of an array may stand in any order in memory, backwards too.
        copy = torch.as_tensor(block.copy() if hasattr(block, '__array__') else block)
    narrow = copy.dtype in (torch.float16, torch.bfloat16, torch.float32)
    return copy.to(torch.float32 if narrow else torch.float64).contiguous()
