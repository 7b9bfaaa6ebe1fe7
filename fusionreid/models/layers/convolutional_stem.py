"""A patch embedding that starts with convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from .instance_batch_norm import InstanceBatchNorm

STEM_CHANNELS = 64


class ConvolutionalPatchEmbed(nn.Module):
    """Patches of the output of three convolutions, the first of stride 2: the IBN stem ("ICS").

    From TransReID-SSL (arXiv 2111.12084); its parts are named as in the weights that the authors
    release. Patches are not padded.

    Args:
        embed_dims: Token width D.
        patch_size: Side of a patch in pixels; even.
        patch_stride: Distance of neighboring patches in pixels; even.

    Raises:
        ValueError: If the size or the stride of the patches is odd.

    Example:
        >>> import torch
        >>> embed = ConvolutionalPatchEmbed(32, patch_size=16, patch_stride=12)
        >>> tokens, grid = embed(torch.zeros(2, 3, 256, 128))
        >>> tokens.shape, grid
        (torch.Size([2, 210, 32]), (21, 10))
    """

    def __init__(self, embed_dims: int, patch_size: int = 16, patch_stride: int = 16) -> None:
        super().__init__()
        if patch_size % 2 or patch_stride % 2:
            raise ValueError(
                'the convolutional stem halves the image, so that patch_size and patch_stride must '
                f'be even, got {patch_size} and {patch_stride}'
            )
        width = STEM_CHANNELS
        self.conv = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            InstanceBatchNorm(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            InstanceBatchNorm(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.projection = nn.Conv2d(width, embed_dims, patch_size // 2, stride=patch_stride // 2)

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed the patches of images.

        Args:
            images: Normalized images of shape ``(B, 3, H, W)``.

        Returns:
            Patch tokens of shape ``(B, N, D)`` and their grid (rows, columns).
        """
        maps = self.projection(self.conv(images))
        return maps.flatten(2).transpose(1, 2), (maps.shape[2], maps.shape[3])
