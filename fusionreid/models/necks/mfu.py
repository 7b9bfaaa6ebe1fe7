"""Mutual Fusion Unit (MFU): a summary token attends to the other branches' patch tokens.

The attention itself is ``CrossAttention`` of ``models/layers/attention.py``. Which patch tokens a
summary token reads is chosen by the HTM.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..layers.attention import MLP, CrossAttention


class MutualFusionUnit(nn.Module):
    """Mutual Fusion Unit (MFU): one branch's summary token reads another's patch tokens.

    Args:
        embed_dims: Token width d.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over d.
        rank: Rank of all linear layers; None (default) for full ones.
    """

    def __init__(
        self, embed_dims: int, num_heads: int, mlp_ratio: float, rank: int | None = None
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dims)
        self.attn = CrossAttention(embed_dims, num_heads, rank)
        self.norm2 = nn.LayerNorm(embed_dims)
        self.mlp = MLP(embed_dims, mlp_ratio, rank)

    def forward(self, summary: Tensor, patches: Tensor) -> Tensor:
        """Update a summary token.

        Args:
            summary: Summary token of shape ``(B, 1, d)``.
            patches: Patch tokens of the other branches, of shape ``(B, N, d)``.

        Returns:
            The new summary token of shape ``(B, 1, d)``.
        """
        summary = summary + self.attn(self.norm1(summary), patches)
        return summary + self.mlp(self.norm2(summary))
