"""A branch without parameters: color histograms of stripes, the floor for trained models."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from fusionreid.registry import MODELS


def striped_color_histogram(images: Tensor, stripes: int, bins: int) -> Tensor:
    """Describe images by joint RGB histograms of horizontal stripes, a hand-made ReID feature.

    Args:
        images: Images of shape ``(B, 3, H, W)`` with values in [0, 255].
        stripes: Horizontal stripes, from head to feet.
        bins: Bins per color channel.

    Returns:
        Square-rooted shares of shape ``(B, stripes * bins ** 3)``, so that Euclidean distance is
        Hellinger's.

    Example:
        >>> striped_color_histogram(torch.zeros(2, 3, 16, 8), stripes=4, bins=2).shape
        torch.Size([2, 32])
    """
    levels = (images * (bins / 256)).long().clamp(0, bins - 1)
    codes = (levels[:, 0] * bins + levels[:, 1]) * bins + levels[:, 2]
    histograms = []
    for stripe in codes.tensor_split(stripes, dim=1):
        flat = stripe.flatten(1)
        counts = torch.zeros(len(images), bins**3, device=images.device)
        counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=counts.dtype))
        histograms.append(counts / flat.shape[1])
    return torch.cat(histograms, 1).sqrt()


def balance_gray_world(images: Tensor) -> Tensor:
    """Scale the channels so that their means agree, which removes a camera's color cast.

    Args:
        images: Images of shape ``(B, 3, H, W)`` with values in [0, 255].

    Returns:
        Balanced images, clipped to [0, 255].

    Example:
        >>> reddish = torch.tensor([120.0, 60.0, 60.0]).view(1, 3, 1, 1)
        >>> balance_gray_world(reddish).flatten()
        tensor([80., 80., 80.])
    """
    means = images.mean((2, 3), keepdim=True).clamp(min=1e-6)
    return (images * means.mean(1, keepdim=True) / means).clamp(0, 255)


@MODELS.register_module()
class ColorHistogram(BaseModule):
    """Parameter-free branch: striped color histograms, a floor that every trained model must beat.

    The middle half of the columns is taken, where the person is, and balanced by the gray-world
    assumption: on rendered people both make the histograms several times better.

    Args:
        mean: Mean that the data preprocessor subtracted, one value for all channels.
        std: Standard deviation that it divided by, one value for all channels.
        stripes: Horizontal stripes. Defaults to 6.
        bins: Bins per color channel. Defaults to 8.
    """

    num_cameras = 0

    def __init__(
        self, mean: float = 127.5, std: float = 127.5, stripes: int = 6, bins: int = 8
    ) -> None:
        super().__init__()
        self.mean, self.std, self.stripes, self.bins = mean, std, stripes, bins
        self.out_channels = stripes * bins**3

    def forward(self, images: Tensor, camera_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the histograms.

        Args:
            images: Normalized images of shape ``(B, 3, H, W)``.
            camera_ids: Ignored: the histogram depends on the image alone.

        Returns:
            The histogram of shape ``(B, out_channels)``, and the same as a map on a 1x1 grid,
            ``(B, out_channels, 1, 1)``.
        """
        pixels = (images * self.std + self.mean).round()
        width = pixels.shape[3]
        center = balance_gray_world(pixels[..., width // 4 : width - width // 4])
        feature = F.normalize(striped_color_histogram(center, self.stripes, self.bins))
        return feature, feature[:, :, None, None]
