"""Shared Encoding Unit (SEU): a branch's tokens attend to each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..layers.attention import MLP, SelfAttention


class SharedEncodingUnit(nn.Module):
    """Shared Encoding Unit (SEU): one pre-norm transformer block and a closing layer norm.

    Args:
        embed_dims: Token width d.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over d.
    """

    def __init__(self, embed_dims: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dims)
        self.attn = SelfAttention(embed_dims, num_heads)
        self.norm2 = nn.LayerNorm(embed_dims)
        self.mlp = MLP(embed_dims, mlp_ratio)
        self.norm = nn.LayerNorm(embed_dims)

    def forward(self, tokens: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        """Encode sequences, each a summary token and its branch's patch tokens.

        Branches that share the unit go through it in one pass: only attention tells their tokens
        apart.

        Args:
            tokens: One or several sequences one after the other, of shape ``(B, N, d)``.
            lengths: Lengths of the sequences, which sum up to N. None for a single one.

        Returns:
            Encoded tokens of shape ``(B, N, d)``.
        """
        return self._finish(tokens + self.attn(self.norm1(tokens), lengths))

    def summarize(self, tokens: Tensor, lengths: Sequence[int]) -> Tensor:
        """Compute :meth:`forward` for the summary token of each sequence alone.

        Args:
            tokens: Sequences one after the other, of shape ``(B, N, d)``.
            lengths: Lengths of the sequences, which sum up to N.

        Returns:
            Encoded summary tokens of shape ``(B, len(lengths), d)``.
        """
        summaries = torch.cat([part[:, :1] for part in tokens.split(list(lengths), 1)], 1)
        return self._finish(summaries + self.attn.attend_first(self.norm1(tokens), lengths))

    def _finish(self, tokens: Tensor) -> Tensor:
        return self.norm(tokens + self.mlp(self.norm2(tokens)))
