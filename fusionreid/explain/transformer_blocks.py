"""Where the blocks of a transformer are, and what their attention computes."""

from __future__ import annotations

from typing import Any

import torch
from mmpretrain.models.utils import MultiheadAttention
from timm.layers.attention import Attention as TimmAttention
from torch import Tensor, nn

from fusionreid.errors import ExplainError
from fusionreid.models import BackboneAdapter, FusionReID
from fusionreid.models.layers.attention import attention_weights, split_heads

# Where mmpretrain and timm keep the blocks that class and patch tokens go through.
BLOCK_LISTS = ('layers', 'encoder', 'blocks')


def transformer_blocks(backbone: nn.Module) -> list[nn.Module]:
    """Find the blocks that class and patch tokens go through, each with an attention ``attn``.

    Args:
        backbone: Backbone of a branch.

    Returns:
        The blocks in order; empty if the backbone is no such transformer.
    """
    network = backbone.model if isinstance(backbone, BackboneAdapter) else backbone
    for name in BLOCK_LISTS:
        blocks = getattr(network, name, None)
        if isinstance(blocks, (nn.ModuleList, nn.Sequential)) and len(blocks):
            found = list(blocks)
            if all(isinstance(getattr(block, 'attn', None), nn.Module) for block in found):
                return found
    return []


def standard_attentions(model: FusionReID, branch: str) -> list[nn.Module]:
    """Find the attention layers of a transformer, each a plain softmax over all tokens.

    Args:
        model: The model.
        branch: Name of one of its branches.

    Returns:
        The layers, in order.

    Raises:
        ExplainError: If the branch is no transformer, or its attention is of another kind, such as
            windows, relative positions or rotations, which weights made from queries and keys alone
            would misrepresent; or if it merges tokens.
    """
    backbone: Any = model.branches[branch].backbone
    name = getattr(backbone, 'name', type(backbone).__name__)
    layers: list[Any] = [block.attn for block in transformer_blocks(backbone)]
    if not layers:
        raise ExplainError(
            f'branch {branch!r} ({name}) has no blocks of a Vision Transformer, so there is no '
            'attention of a class token to show'
        )
    if getattr(backbone, 'keep_ratio', 1) < 1:
        raise ExplainError(
            f'the transformer of branch {branch!r} merges tokens, so its attention is on no grid: '
            f'set its keep_ratio={backbone.keep_ratio} to 1 to see that of all patches'
        )
    for layer in layers:
        # The class itself: a subclass may compute something else.
        if type(layer) not in (MultiheadAttention, TimmAttention):
            raise ExplainError(
                f'the attention of branch {branch!r} ({name}) is {type(layer).__name__}, not the '
                'standard softmax over all tokens, so its weights cannot be shown'
            )
    return layers


def self_attention_weights(layer: Any, tokens: Tensor, num_queries: int | None = None) -> Tensor:
    """Compute the weights of a layer of :func:`standard_attentions`.

    Args:
        layer: The layer.
        tokens: What it is called with, of shape ``(B, N, D)``.
        num_queries: How many tokens attend, the first ones; None for all.

    Returns:
        Weights of shape ``(B, heads, M, N)``, which sum to one over N.
    """
    query, key, _ = (split_heads(part, layer.num_heads) for part in layer.qkv(tokens).chunk(3, -1))
    query = query[:, :, :num_queries]
    if isinstance(layer, TimmAttention):
        return attention_weights(layer.q_norm(query), layer.k_norm(key), layer.scale)
    # The layer's own function knows its scale. Weights times the identity are the weights.
    identity = torch.eye(key.shape[2], dtype=key.dtype, device=key.device)
    return layer.scaled_dot_product_attention(query, key, identity.expand(*key.shape[:2], -1, -1))
