"""Joining the batches of all processes for one loss, and what gradient each of them gets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


class _Gather(torch.autograd.Function):
    """Rows of all processes, with the gradient of the own ones."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        rank = distributed.get_rank()
        ctx.start, ctx.count, ctx.processes = sum(counts[:rank]), counts[rank], len(counts)
        return gather_rows(rows, counts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[ctx.start : ctx.start + ctx.count] * ctx.processes, None


def gather_rows(rows: Tensor, counts: list[int]) -> Tensor:
    """Concatenate rows of all processes in the order of their ranks, without gradient.

    Args:
        rows: This process's, of shape ``(counts[rank], ...)``.
        counts: Rows of every process.

    Returns:
        Tensor of shape ``(sum(counts), ...)``.
    """
    # Collectives want equal shapes.
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def gather_batches(features: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Join the batches of all processes, for a loss that every process then computes on all of it.

    Each process's features get the gradient of that loss times the number of processes, which
    DistributedDataParallel's averaging takes away again: the weights get the very gradient of one
    process on the joined batch. The batches may differ in size.

    Args:
        features: Features of this process, of shape ``(B, D)``.
        ids: Identities of shape ``(B,)``.

    Returns:
        Features ``(B_all, D)`` and identities ``(B_all,)`` in the order of the ranks; the arguments
        where there is one process.

    Example:
        >>> features, ids = gather_batches(torch.rand(4, 8), torch.tensor([0, 0, 1, 1]))
        >>> features.shape, ids  # one process has the whole batch already
        (torch.Size([4, 8]), tensor([0, 0, 1, 1]))
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return features, ids
    return _join(features, ids)


@torch.compiler.disable
def _join(features: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    size = torch.tensor([len(features)], device=features.device)
    sizes = [torch.empty_like(size) for _ in range(distributed.get_world_size())]
    distributed.all_gather(sizes, size)
    counts = torch.cat(sizes).tolist()
    return _Gather.apply(features, counts), gather_rows(ids, counts)
