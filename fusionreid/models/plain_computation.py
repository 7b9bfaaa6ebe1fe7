"""The switch to the computation as written down, without what only makes it faster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .layers.attention import attention_weights
from .retrievers import FusionReID

FUSED, TIMM_FUSED = 'scaled_dot_product_attention', 'fused_attn'


def explicit_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """Compute attention step by step, ``softmax(Q K^T scale + mask) V``, as the formula is written.

    Args:
        query: Queries of shape ``(B, heads, M, width)``.
        key: Keys of shape ``(B, heads, N, width)``.
        value: Values of shape ``(B, heads, N, width)``.
        attn_mask: What is added to the scores; None for nothing.
        dropout_p: Share of the weights that is dropped.
        scale: Factor of the scores; None for ``width ** -0.5``.

    Returns:
        Attended values of shape ``(B, heads, M, width)``.

    Example:
        >>> query, key, value = torch.rand(3, 1, 2, 5, 4).unbind()
        >>> attended = explicit_attention(query, key, value)
        >>> fused = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        >>> torch.allclose(attended, fused, atol=1e-6)
        True
    """
    weights = attention_weights(query, key, scale, attn_mask)
    return torch.dropout(weights, dropout_p, dropout_p > 0) @ value


@contextmanager
def plain_computation(model: nn.Module) -> Iterator[None]:
    """Compute as the layers are written down, without anything that only makes it faster.

    Attention is computed step by step, the SEU once per branch and for all tokens, keys and values
    are projected in full, depth-wise convolutions run as convolutions, maps are in PyTorch's usual
    memory format, and nothing is compiled. The weights stay as they are; all switches return to
    what they were at the end. It is the yardstick of the benchmarks, the oracle of the tests, and
    what counts operations or hooks layers should use: elsewhere not every layer is called.

    Args:
        model: A :class:`fusionreid.models.FusionReID`, or any part of one.

    Yields:
        None; forward and backward passes belong inside.

    Example:
        >>> from fusionreid.models.necks import LocalRefinementUnit
        >>> unit = LocalRefinementUnit(8, 12)
        >>> with plain_computation(unit):
        ...     unit.plain
        True
        >>> unit.plain
        False
    """
    switched: list[tuple[nn.Module, str, Any]] = []

    def switch(module: nn.Module, name: str, value: Any) -> None:
        switched.append((module, name, getattr(module, name)))
        setattr(module, name, value)

    for module in model.modules():
        if isinstance(getattr(module, 'plain', None), bool):
            switch(module, 'plain', True)
        if hasattr(module, FUSED):
            # T2T-ViT binds its own scale to it.
            bound = getattr(getattr(module, FUSED), 'keywords', {})
            switch(module, FUSED, partial(explicit_attention, **bound))
        if isinstance(getattr(module, TIMM_FUSED, None), bool):
            switch(module, TIMM_FUSED, False)
        if isinstance(module, FusionReID):
            switch(module, 'compiled', False)
            switch(module, 'channels_last', False)
    try:
        yield
    finally:
        for module, name, value in reversed(switched):
            setattr(module, name, value)
