"""A few learned tokens that stand for the many patch tokens of a branch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .mfu import MutualFusionUnit


class LatentTokens(nn.Module):
    """Learned tokens (latents) that read a branch's patch tokens by cross-attention.

    What follows computes with the latents instead of the patch tokens: the input array of Perceiver
    (arXiv 2103.03206), and the bottleneck tokens through which modalities are fused in "Attention
    Bottlenecks for Multimodal Fusion" (arXiv 2107.00135). They read with the layers of an MFU.

    Args:
        num_latents: Number K of latents.
        embed_dims: Token width d.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over d.
        rank: Rank of all linear layers; None (default) for full ones.

    Example:
        >>> LatentTokens(4, embed_dims=12, num_heads=3, mlp_ratio=4)(torch.rand(2, 15, 12)).shape
        torch.Size([2, 4, 12])
    """

    def __init__(
        self,
        num_latents: int,
        embed_dims: int,
        num_heads: int,
        mlp_ratio: float,
        rank: int | None = None,
    ) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.zeros(1, num_latents, embed_dims))
        nn.init.trunc_normal_(self.latents, std=0.02)
        self.reading = MutualFusionUnit(embed_dims, num_heads, mlp_ratio, rank)

    def forward(self, patches: Tensor) -> Tensor:
        """Read patch tokens.

        Args:
            patches: Patch tokens of shape ``(B, N, d)``.

        Returns:
            The latents after reading, of shape ``(B, K, d)``.
        """
        return self.reading(self.latents.repeat(patches.shape[0], 1, 1), patches)
