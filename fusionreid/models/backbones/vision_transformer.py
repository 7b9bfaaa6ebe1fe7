"""ViT for ReID: overlapping patches and side information embedding."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor, nn

from fusionreid.registry import MODELS

from ..layers.convolutional_stem import ConvolutionalPatchEmbed
from ..layers.token_embedding import TokenEmbeddingMixin
from ..layers.token_merging import merges_per_block, run_merging


@MODELS.register_module()
class ReIDVisionTransformer(TokenEmbeddingMixin, VisionTransformer):
    """Vision Transformer with overlapping patches and side information embedding (SIE).

    It is the backbone of TransReID (arXiv 2102.04378). Patches are not padded: 256x128 at stride 12
    gives a 21x10 grid, at stride 16 a 16x8 one.

    Args:
        arch: An mmpretrain architecture (``'base'``, ``'deit-base'``, ``'deit-small'``, ...) or a
            dict of its sizes.
        img_size: Height and width of the images, in pixels.
        patch_size: Side of a patch in pixels. Defaults to 16.
        patch_stride: Distance of neighboring patches in pixels; smaller than ``patch_size`` they
            overlap. Defaults to 16.
        stem: ``'patches'``: each patch is projected, as in every ImageNet checkpoint.
            ``'convolutional'``: three convolutions come before, as in weights of TransReID-SSL with
            ICS. Defaults to ``'patches'``.
        num_cameras: Cameras of the training set; 0 leaves SIE out. Defaults to 0.
        sie_coefficient: Factor of the camera embedding. Defaults to 3.0.
        with_cp: Whether training recomputes the blocks' activations instead of keeping them, which
            saves memory for a third more computation. Defaults to False.
        keep_ratio: Share of the patch tokens that is left after the last block, in (0, 1]; each
            block merges as many of the most similar ones (ToMe, arXiv 2210.09461), at most half of
            its own, in training too. It changes no weights. Defaults to 1: none is merged.
        **kwargs: Everything else that mmpretrain's VisionTransformer takes.

    Raises:
        ValueError: If no patch fits into the image, or a patch has no size; with a convolutional
            stem also if its size or stride is odd; or if ``keep_ratio`` is out of its range.

    Example:
        >>> import torch
        >>> sizes = dict(embed_dims=32, num_layers=1, num_heads=2, feedforward_channels=64)
        >>> backbone = ReIDVisionTransformer(sizes, (64, 32), patch_stride=12, num_cameras=6)
        >>> token, feature_map = backbone(torch.zeros(1, 3, 64, 32), torch.tensor([-1]))
        >>> token.shape, feature_map.shape
        (torch.Size([1, 32]), torch.Size([1, 32, 5, 2]))
    """

    patch_embed: nn.Module
    drop_after_pos: nn.Module
    pre_norm: nn.Module
    layers: nn.ModuleList
    ln1: nn.Module
    embed_dims: int
    num_layers: int

    def __init__(
        self,
        arch: str | dict[str, Any] = 'base',
        img_size: tuple[int, int] = (256, 128),
        patch_size: int = 16,
        patch_stride: int = 16,
        stem: Literal['patches', 'convolutional'] = 'patches',
        num_cameras: int | None = 0,
        sie_coefficient: float = 3.0,
        with_cp: bool = False,
        keep_ratio: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if patch_size < 1 or patch_stride < 1:
            raise ValueError(
                f'patch_size and patch_stride must be at least 1, got {patch_size} and '
                f'{patch_stride}'
            )
        if stem not in ('patches', 'convolutional'):
            raise ValueError(f"stem must be 'patches' or 'convolutional', got {stem!r}")
        if min(img_size) < patch_size:
            raise ValueError(
                f'images of {tuple(img_size)} pixels hold no patch of {patch_size} pixels'
            )
        if not 0 < keep_ratio <= 1:
            raise ValueError(f'keep_ratio must lie in (0, 1], got {keep_ratio}')
        super().__init__(
            arch,
            img_size=tuple(img_size),
            patch_size=patch_size,
            patch_cfg=dict(stride=patch_stride, padding=0),
            out_type='raw',
            **kwargs,
        )
        if stem == 'convolutional':
            self.patch_embed = ConvolutionalPatchEmbed(self.embed_dims, patch_size, patch_stride)
        self.with_cp = with_cp
        self.keep_ratio = keep_ratio
        self.fixed_image_size = (img_size[0], img_size[1])
        self.finish_init(self.embed_dims, num_cameras, sie_coefficient)

    def forward(self, images: Tensor, camera_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode images.

        Args:
            images: Normalized images of shape ``(B, 3, H, W)``; a size other than ``img_size``
                resizes the position embedding.
            camera_ids: Cameras of shape ``(B,)``, -1 for unknown; None means all unknown. Ignored
                without SIE.

        Returns:
            The class token after the final norm, of shape ``(B, D)``, and the patch tokens on their
            grid, ``(B, D, H', W')``.
        """
        patches, grid = self.patch_embed(images)
        tokens = self.embed_tokens(patches, grid, camera_ids)
        tokens = self.pre_norm(self.drop_after_pos(tokens))
        if self.keep_ratio < 1:
            tokens = self._merge_and_restore(tokens)
        else:
            for layer in self.layers:
                tokens = self.run_block(layer, tokens)
            tokens = self.ln1(tokens)
        return self.split_tokens(tokens, grid)

    def _merge_and_restore(self, tokens: Tensor) -> Tensor:
        """Run the blocks with fewer and fewer tokens, and give each patch the token it is part of.

        What follows sees a merged token once for each of its patches. So a mean over the map, as
        GeM's, weighs it by its size, and attention to the map is proportional too.
        """
        # int: TorchScript's tracing makes tensors of shapes.
        counts = merges_per_block(int(tokens.shape[1]) - 1, self.num_layers, self.keep_ratio)
        sizes = tokens.new_ones(*tokens.shape[:2], 1)
        places = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape[:2])
        for layer, count in zip(self.layers, counts, strict=True):
            compute = partial(run_merging, layer, count=count)
            tokens, sizes, moved = self.run_block(layer, tokens, sizes, compute=compute)
            places = moved.gather(1, places)
        return self.ln1(tokens).gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))
