"""Mixing the style of images in training (MixStyle)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mix_style(maps: Tensor, partners: Tensor, share: Tensor) -> Tensor:
    """Give each map a mean and a deviation between its own and its partner's.

    From "Domain Generalization with MixStyle" (arXiv 2104.02008), equations 4 to 6: the style of a
    feature map is the mean and deviation of each channel, through which no gradient flows.

    Args:
        maps: Feature maps of shape ``(B, C, H, W)``.
        partners: Whose style is mixed in, positions of shape ``(B,)``.
        share: How much of the own style stays, in [0, 1], of shape ``(B,)``.

    Returns:
        Maps of the same shape.

    Example:
        >>> maps = torch.rand(2, 3, 4, 4)
        >>> swapped = mix_style(maps, torch.tensor([1, 0]), torch.zeros(2))
        >>> torch.allclose(swapped.mean((2, 3)), maps.mean((2, 3)).flip(0), atol=1e-5)
        True
    """
    style = maps.detach()
    mean = style.mean((2, 3), keepdim=True)
    deviation = (style.var((2, 3), keepdim=True) + 1e-6).sqrt()
    own = share.to(maps.dtype)[:, None, None, None]
    mixed_mean = own * mean + (1 - own) * mean[partners]
    mixed_deviation = own * deviation + (1 - own) * deviation[partners]
    return (maps - mean) / deviation * mixed_deviation + mixed_mean


class MixStyle(nn.Module):
    """Mix the styles of a batch's images at random while training; see :func:`mix_style`.

    Args:
        probability: Share of batches that are mixed, in [0, 1]. Defaults to 0.5.
        alpha: Both parameters of the beta distribution of shares, above 0. Defaults to 0.1, where
            most shares are near 0 or 1.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, probability: float = 0.5, alpha: float = 0.1) -> None:
        super().__init__()
        if not 0 <= probability <= 1:
            raise ValueError(f'the probability of MixStyle must be in [0, 1], got {probability}')
        if not alpha > 0:
            raise ValueError(f'alpha of MixStyle must be above 0, got {alpha}')
        self.probability = probability
        self.alpha = alpha

    @torch.compiler.disable
    def forward(self, maps: Tensor) -> Tensor:
        """Mix the styles of a batch.

        Args:
            maps: Feature maps of shape ``(B, C, H, W)``.

        Returns:
            Maps of the same shape; the same ones when not training.
        """
        # Drawn on the CPU: the decision would otherwise wait for the device.
        if not self.training or torch.rand(()).item() >= self.probability:
            return maps
        count = len(maps)
        share = torch.distributions.Beta(self.alpha, self.alpha).sample((count,))
        partners = torch.randperm(count)
        return mix_style(maps, partners.to(maps.device), share.to(maps.device))
