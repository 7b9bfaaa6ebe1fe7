"""Goes on with fewer rows at once where the device has no memory for them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from .memory import RowPlan


def halve(plan: RowPlan) -> RowPlan:
    """Plan with half as many rows at once, one at least.

    Args:
        plan: The plan.

    Returns:
        The smaller plan.

    Example:
        >>> halve(RowPlan(block=6, group=4, workers=1, spare=800))
        RowPlan(block=3, group=2, workers=1, spare=400)
    """
    block = max(1, plan.block // 2)
    group = max(1, min(plan.group // 2, block))
    return replace(plan, block=block, group=group, spare=max(1, plan.spare // 2))


class BlockBuffer:
    """Memory for one block after the other, smaller from where blocks are.

    Args:
        like: A tensor on the same device.
        width: Columns of a block.
        dtype: Its type.
    """

    def __init__(self, like: Tensor, width: int, dtype: torch.dtype) -> None:
        self._memory = like.new_empty(0, width, dtype=dtype)

    def take(self, rows: slice, block: int) -> Tensor:
        """Take the memory for a block.

        Args:
            rows: Its R rows.
            block: Most rows of a block.

        Returns:
            (R, width), not initialized.
        """
        if len(self._memory) != block:
            # The larger one is gone before there is a smaller one.
            self._memory = self._memory.new_empty(0, self._memory.shape[1])
            self._memory = self._memory.new_empty(block, self._memory.shape[1])
        return self._memory[: rows.stop - rows.start]


def in_blocks(total: int, plan: RowPlan, work: Callable[[slice, RowPlan], None]) -> RowPlan:
    """Work on rows block by block, in smaller blocks from where the device runs out of memory.

    Other programs share a GPU's memory, and what a library takes for itself cannot be planned.

    Args:
        total: Rows.
        plan: How many are worked on at once.
        work: Is called with the rows of each block and the plan that they are cut by. It may be
            called again with some of the same rows after it has failed.

    Returns:
        The plan of the last block.

    Raises:
        OutOfMemoryError: There is no memory for one row.
    """
    block = max(1, min(plan.block, total))
    plan = replace(plan, block=block, group=min(plan.group, block))
    start = 0
    while start < total:
        rows = slice(start, min(start + plan.block, total))
        try:
            work(rows, plan)
        # Its new name came with torch 2.5.
        except torch.cuda.OutOfMemoryError:
            if plan.block == plan.group == 1:
                raise
        else:
            start = rows.stop
            continue
        # Here the error is gone, and with it the tensors that its traceback holds.
        plan = halve(plan)
        torch.cuda.empty_cache()
        warnings.warn(
            f'the device is out of memory: going on with {plan.block} rows at once; a smaller '
            'memory_limit, or less on the device beside this, avoids that',
            RuntimeWarning,
            stacklevel=3,
        )
    return plan
