"""T2T-ViT for ReID: any image shape, side information embedding, the original attention scales."""

from __future__ import annotations

from typing import Any

from mmpretrain.models.backbones import T2T_ViT
from mmpretrain.models.backbones.t2t_vit import T2TModule
from torch import Tensor, nn

from fusionreid.registry import MODELS
from fusionreid.workarounds.t2t_vit import set_attention_scales, set_grid

from ..layers.token_embedding import TokenEmbeddingMixin

TOTAL_STRIDE = 16


@MODELS.register_module()
class ReIDT2TViT(TokenEmbeddingMixin, T2T_ViT):
    """Tokens-to-Token ViT (arXiv 2101.11986) for images of any shape, with SIE.

    SIE is the side information embedding of the cameras.

    Args:
        img_size: Height and width of the images in pixels, multiples of 16.
        embed_dims: Token width: 384 for T2T-ViT-14, 512 for T2T-ViT-24. Defaults to 384.
        num_layers: Transformer layers. Defaults to 14.
        num_heads: Attention heads: 6 for T2T-ViT-14, 8 for T2T-ViT-24. Defaults to 6.
        num_cameras: Cameras of the training set; 0 leaves SIE out. Defaults to 0.
        sie_coefficient: Factor of the camera embedding. Defaults to 3.0.
        with_cp: Whether training recomputes the activations of the token module and of the layers
            instead of keeping them, which saves memory for a third more computation. Defaults to
            False.
        **kwargs: Everything else that mmpretrain's T2T_ViT takes.

    Raises:
        ValueError: If the image sides are not multiples of 16.

    Example:
        >>> import torch
        >>> backbone = ReIDT2TViT((32, 16), embed_dims=32, num_layers=1, num_heads=2, num_cameras=6)
        >>> token, feature_map = backbone(torch.zeros(1, 3, 32, 16), torch.tensor([0]))
        >>> token.shape, feature_map.shape
        (torch.Size([1, 32]), torch.Size([1, 32, 2, 1]))
    """

    tokens_to_token: T2TModule
    drop_after_pos: nn.Module
    encoder: nn.ModuleList
    norm: nn.Module

    def __init__(
        self,
        img_size: tuple[int, int] = (256, 128),
        embed_dims: int = 384,
        num_layers: int = 14,
        num_heads: int = 6,
        num_cameras: int | None = 0,
        sie_coefficient: float = 3.0,
        with_cp: bool = False,
        **kwargs: Any,
    ) -> None:
        if any(side % TOTAL_STRIDE for side in img_size):
            raise ValueError(
                f'T2T-ViT needs image sides divisible by {TOTAL_STRIDE}, got {tuple(img_size)}'
            )
        super().__init__(
            img_size=img_size[0],
            embed_dims=embed_dims,
            num_layers=num_layers,
            layer_cfgs=dict(num_heads=num_heads),
            out_type='raw',
            **kwargs,
        )
        set_grid(self, (img_size[0] // TOTAL_STRIDE, img_size[1] // TOTAL_STRIDE))
        set_attention_scales(self)
        self.with_cp = with_cp
        self.fixed_image_size = (img_size[0], img_size[1])
        self.finish_init(embed_dims, num_cameras, sie_coefficient)

    def forward(self, images: Tensor, camera_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode images.

        Args:
            images: Normalized images of shape ``(B, 3, H, W)``, sides multiples of 16.
            camera_ids: Cameras of shape ``(B,)``, -1 for unknown; None means all unknown. Ignored
                without SIE.

        Returns:
            The class token after the final norm, of shape ``(B, D)``, and the patch tokens on their
            grid, ``(B, D, H', W')``.
        """
        patches, grid = self.run_block(self.tokens_to_token, images)
        tokens = self.drop_after_pos(self.embed_tokens(patches, grid, camera_ids))
        for layer in self.encoder:
            tokens = self.run_block(layer, tokens)
        return self.split_tokens(self.norm(tokens), grid)
