"""T2T-ViT of mmpretrain for images that are not square, with the scales of its authors."""

from __future__ import annotations

from functools import partial

from mmpretrain.models.backbones import T2T_ViT
from mmpretrain.models.backbones.t2t_vit import get_sinusoid_encoding
from torch.nn import functional as F


def set_grid(backbone: T2T_ViT, grid: tuple[int, int]) -> None:
    """Let a backbone take images of a grid that is not square.

    Reason: the constructor takes one side, in mmpretrain 1.2.0 and onedl-mmpretrain 1.3.6. It ends
    with an mmpretrain that takes both.

    Args:
        backbone: The backbone, which is changed.
        grid: Rows and columns of its tokens.
    """
    width = backbone.pos_embed.shape[-1]
    backbone.patch_resolution = backbone.tokens_to_token.init_out_size = grid
    backbone.pos_embed = get_sinusoid_encoding(grid[0] * grid[1] + 1, width)


def set_attention_scales(backbone: T2T_ViT) -> None:
    """Scale each attention by its layer's input width per head, as the authors do.

    Reason: those widths are 147 and 576 in the token attentions, whose heads are 64 wide.
    mmpretrain 1.2.0 and onedl-mmpretrain 1.3.6 say so too, but divide by the width of the head. It
    ends with an mmpretrain that divides by what it says.

    Args:
        backbone: The backbone, which is changed.
    """
    tokens = backbone.tokens_to_token
    for layer in (tokens.attention1, tokens.attention2, *backbone.encoder):
        scale = (layer.attn.input_dims // layer.attn.num_heads) ** -0.5
        layer.attn.scaled_dot_product_attention = partial(
            F.scaled_dot_product_attention, scale=scale
        )
