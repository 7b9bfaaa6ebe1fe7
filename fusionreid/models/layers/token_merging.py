"""Token merging (ToMe): a transformer with fewer tokens from block to block.

The formulas are those of "Token Merging: Your ViT But Faster" (arXiv 2210.09461).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .attention import merge_heads, split_heads


def merges_per_block(num_patches: int, num_blocks: int, keep_ratio: float) -> list[int]:
    """Spread the merging of tokens evenly over the blocks of a transformer.

    Args:
        num_patches: Number of patch tokens before the first block.
        num_blocks: Number of blocks.
        keep_ratio: Share of the patch tokens that is left after the last block; more are where a
            block would have to merge more than half of its own.

    Returns:
        How many tokens each block merges into others.

    Example:
        >>> merges_per_block(210, 12, 0.25)
        [13, 13, 13, 13, 13, 14, 13, 13, 13, 13, 13, 14]
        >>> merges_per_block(10, 2, 0.1)
        [4, 3]
    """
    total = num_patches - round(keep_ratio * num_patches)
    left, counts = num_patches, []
    for block in range(num_blocks):
        share = total * (block + 1) // num_blocks - total * block // num_blocks
        counts.append(min(share, left // 2))
        left -= counts[-1]
    return counts


@torch.no_grad()
def match_tokens(keys: Tensor, count: int) -> Tensor:
    """Choose which tokens are merged: bipartite soft matching.

    Tokens at even places are matched with those at odd places. Each even token finds the odd one
    with the most similar key, by the cosine; the ``count`` most similar ones are merged into
    theirs. The first token, the class token, takes no part.

    Args:
        keys: Keys of shape ``(B, N, width)``, class token first.
        count: How many tokens are merged into others.

    Returns:
        For each token its place among the ``N - count`` tokens after merging, of shape ``(B, N)``.
        The order of the tokens stays.

    Example:
        >>> keys = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [-1.0, 0.0]]])
        >>> match_tokens(keys, 1)  # the third token is merged into the second
        tensor([[0, 1, 1, 2, 3]])
    """
    keys = F.normalize(keys, dim=-1)
    similarity = keys[:, ::2] @ keys[:, 1::2].transpose(1, 2)
    best, partner = similarity.max(-1)
    merged = 1 + best[:, 1:].topk(count).indices
    sources, targets = 2 * merged, 2 * partner.gather(1, merged) + 1
    is_kept = torch.ones(keys.shape[:2], dtype=torch.int64, device=keys.device)
    places = is_kept.scatter(1, sources, 0).cumsum(1) - 1
    return places.scatter(1, sources, places.gather(1, targets))


def add_up(values: Tensor, places: Tensor, num_left: int) -> Tensor:
    """Add up the values of tokens that are merged.

    Args:
        values: Values of shape ``(B, N, D)``.
        places: Where each token goes, from :func:`match_tokens`.
        num_left: Number of tokens after merging.

    Returns:
        Sums of shape ``(B, num_left, D)``.
    """
    sums = values.new_zeros(values.shape[0], num_left, values.shape[2])
    return sums.scatter_add(1, places[..., None].expand_as(values), values)


def run_merging(
    block: Any, tokens: Tensor, sizes: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a block of mmpretrain's Vision Transformer, merging tokens between its two halves.

    The attention is proportional: a token that stands for s patches is attended to as s equal ones
    would be, since ``log s`` is added to its scores. A merged token is the mean of its patches.

    Args:
        block: The block.
        tokens: Tokens of shape ``(B, N, D)``, class token first.
        sizes: How many patches each token stands for, of shape ``(B, N, 1)``.
        count: How many tokens are merged into others.

    Returns:
        The tokens and their sizes after the block, of shapes ``(B, N - count, D)`` and
        ``(B, N - count, 1)``, and the place there of each token before, ``(B, N)``.
    """
    attention = block.attn
    query, key, value = (
        split_heads(part, attention.num_heads)
        for part in attention.qkv(block.ln1(tokens)).chunk(3, -1)
    )
    attended = attention.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=sizes.log().to(query.dtype).transpose(1, 2).unsqueeze(1),
        dropout_p=attention.attn_drop if block.training else 0.0,
    )
    attended = attention.proj_drop(attention.proj(merge_heads(attended)))
    tokens = tokens + attention.out_drop(attention.gamma1(attended))
    places = match_tokens(key.mean(1), count)
    num_left = tokens.shape[1] - count
    sums, sizes = add_up(tokens * sizes, places, num_left), add_up(sizes, places, num_left)
    tokens = sums / sizes
    return block.ffn(block.ln2(tokens), identity=tokens), sizes, places
