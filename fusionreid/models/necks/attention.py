from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def split_heads(tokens: Tensor, num_heads: int) -> Tensor:
    """Reshape ``(B, N, d)`` to ``(B, num_heads, N, d / num_heads)``."""
    return tokens.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merge_heads(tokens: Tensor) -> Tensor:
    """Reshape ``(B, num_heads, N, d / num_heads)`` to ``(B, N, d)``."""
    return tokens.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Multi-head self-attention whose query, key and value projections have no bias.

    Args:
        embed_dims: Token width d.
        num_heads: Heads; they divide d.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims, bias=False)
        self.proj = nn.Linear(embed_dims, embed_dims)

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend within a sequence of shape ``(B, N, d)``."""
        query, key, value = (
            split_heads(part, self.num_heads) for part in self.qkv(tokens).chunk(3, -1)
        )
        return self.proj(merge_heads(F.scaled_dot_product_attention(query, key, value)))


class CrossAttention(nn.Module):
    """Multi-head attention of summary tokens to another branch's tokens.

    Keys come from layer-normalised tokens, values from the tokens as they are; the projections have
    no bias.

    Args:
        embed_dims: Token width d.
        num_heads: Heads; they divide d.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(embed_dims)
        self.q = nn.Linear(embed_dims, embed_dims, bias=False)
        self.k = nn.Linear(embed_dims, embed_dims, bias=False)
        self.v = nn.Linear(embed_dims, embed_dims, bias=False)
        self.proj = nn.Linear(embed_dims, embed_dims)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Let ``queries`` of shape ``(B, M, d)`` attend to ``tokens`` of shape ``(B, N, d)``;
        returns ``(B, M, d)``.
        """
        attended = F.scaled_dot_product_attention(
            split_heads(self.q(queries), self.num_heads),
            split_heads(self.k(self.norm(tokens)), self.num_heads),
            split_heads(self.v(tokens), self.num_heads),
        )
        return self.proj(merge_heads(attended))


class MLP(nn.Sequential):
    """Two-layer perceptron with GELU.

    Args:
        embed_dims: Token width d.
        ratio: Width of the hidden layer over d.
    """

    def __init__(self, embed_dims: int, ratio: float) -> None:
        hidden = int(embed_dims * ratio)
        super().__init__(nn.Linear(embed_dims, hidden), nn.GELU(), nn.Linear(hidden, embed_dims))


def init_transformer_weights(module: nn.Module) -> None:
    """Initialise linear layers as transformers usually are: weights N(0, 0.02^2) truncated at two
    units, biases 0.
    """
    if isinstance(module, nn.Linear):
        torch.nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            torch.nn.init.zeros_(module.bias)
