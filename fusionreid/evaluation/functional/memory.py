"""Decides how many rows are worked on at once within a memory limit, and the default limit."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .errors import MemoryLimitError

CPU = torch.device('cpu')
# What a scoring function may use on top of its inputs unless told otherwise, in bytes: 1 GiB.
# Re-ranking has a default of its own, in reranking/parameters.py.
DEFAULT_MEMORY_LIMIT = 1 << 30
# More rows than these gain nothing: the matrix product is already at full speed, and a group of
# this size amortizes the cost of its tensor operations. A GPU has to be started for each of them.
MAX_BLOCK_ROWS = 2048
MAX_GROUP_ROWS = 64
MAX_GROUP_ROWS_ON_GPU = 1024


@dataclass(frozen=True)
class RowPlan:
    """How queries are cut up, so that the work on them fits into memory.

    Args:
        block: Rows that share a matrix product.
        group: Rows of a block that are ranked together, at most ``block``.
        workers: Groups that are worked on at the same time.
        spare: Bytes that each worker has for temporaries that are cut to size.
    """

    block: int
    group: int
    workers: int
    spare: int


def plan_rows(
    memory_limit: int,
    *,
    fixed: int,
    per_block_row: int,
    per_group_row: int,
    what: str,
    workers: int = 1,
    device: torch.device = CPU,
) -> RowPlan:
    """Choose how many query rows are worked on at once, before any work starts.

    Args:
        memory_limit: Bytes that may be used on top of the inputs.
        fixed: Bytes needed whatever the number of rows.
        per_block_row: Bytes for each row of a block.
        per_group_row: Further bytes, at worst, for each row of a group.
        what: The task in words, for the error.
        workers: Groups that are worked on at the same time, if memory allows.
        device: Where they are worked on.

    Returns:
        The plan; each worker has ``spare`` bytes for temporaries that are cut to size.

    Raises:
        TypeError: The limit is no whole number.
        MemoryLimitError: Not even one row fits.
    """
    if not isinstance(memory_limit, int):
        raise TypeError(f'memory_limit must be a whole number of bytes, got {memory_limit!r}')
    least = fixed + per_block_row + 2 * per_group_row
    if memory_limit < least:
        raise MemoryLimitError(
            f'memory_limit={memory_limit} bytes is too small for {what}: '
            f'at least {least} bytes are needed'
        )
    free = memory_limit - fixed
    # Half for groups, each with some spare room, the rest for the block that they are cut from.
    rows = max(1, free // 2 // (per_group_row + per_block_row))
    workers = max(1, min(workers, rows // 2))
    most = MAX_GROUP_ROWS if device.type == 'cpu' else MAX_GROUP_ROWS_ON_GPU
    group = max(1, min(most, rows // (2 * workers)))
    block = (free - workers * 2 * group * per_group_row) // max(per_block_row, 1)
    block = max(1, min(MAX_BLOCK_ROWS, block))
    return RowPlan(
        block=block, group=min(group, block), workers=workers, spare=group * per_group_row
    )
