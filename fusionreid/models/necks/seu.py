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
        rank: Rank of all linear layers; None (default) for full ones.
        patch_mlp: Whether the MLP changes patch tokens too. Defaults to True; False leaves it to
            the summary tokens.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        mlp_ratio: float,
        rank: int | None = None,
        patch_mlp: bool = True,
    ) -> None:
        super().__init__()
        self.patch_mlp = patch_mlp
        self.norm1 = nn.LayerNorm(embed_dims)
        self.attn = SelfAttention(embed_dims, num_heads, rank)
        self.norm2 = nn.LayerNorm(embed_dims)
        self.mlp = MLP(embed_dims, mlp_ratio, rank)
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
        tokens = tokens + self.attn(self.norm1(tokens), lengths)
        if self.patch_mlp:
            return self._finish(tokens)
        parts = tokens.split([tokens.shape[1]] if lengths is None else list(lengths), 1)
        summaries = self._finish(torch.cat([part[:, :1] for part in parts], 1)).split(1, 1)
        patches = [self.norm(part[:, 1:]) for part in parts]
        return torch.cat(
            [each for pair in zip(summaries, patches, strict=True) for each in pair], 1
        )

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
