"""Recomputing activations in the backward pass, with batch norms updated only once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run_checkpointed(
    block: nn.Module, *inputs: Any, compute: Callable[..., Any] | None = None
) -> Any:
    """Run a block without keeping its activations; they are recomputed in the backward pass.

    The gradients stay the same: drop path draws the same paths again, and batch norms
    update their running statistics only once.

    Args:
        block: The block.
        *inputs: Its inputs.
        compute: What is computed from them with the block's weights; None (default) for the block.

    Returns:
        Its output.

    Example:
        >>> block = nn.Linear(4, 2)
        >>> tokens = torch.rand(3, 4)
        >>> torch.equal(run_checkpointed(block, tokens), block(tokens))
        True
    """
    compute = compute or block
    if torch.compiler.is_compiling():
        # A compiled graph recomputes values alone, never their side effects.
        return checkpoint(compute, *inputs, use_reentrant=False)
    return checkpoint(compute, *inputs, use_reentrant=False, context_fn=partial(_contexts, block))


def _contexts(
    block: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What surrounds the first and the second computation."""
    return nullcontext(), _frozen_statistics(block)


@contextmanager
def _frozen_statistics(block: nn.Module) -> Iterator[None]:
    """Let batch norms normalize by the batch without updating their running statistics."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    settings = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            # SyncBatchNorm insists on a counter: let it count in a copy.
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, settings, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
