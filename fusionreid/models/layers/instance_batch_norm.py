"""Instance norm on half of the channels, batch norm on the others (IBN-Net)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class InstanceBatchNorm(nn.Module):
    """Normalize the first half of the channels per image, the others over the batch.

    What differs between cameras and data sets, as light and color, lies mostly in the mean and
    deviation of each image's channels, which the instance norm takes away. From "Two at Once"
    (arXiv 1807.09441); its parts are named as in the weights that the authors release.

    Args:
        channels: Channels C, at least 2.

    Example:
        >>> norm = InstanceBatchNorm(4)
        >>> brighter = torch.rand(2, 4, 8, 8) * torch.tensor([1.0, 3.0])[:, None, None, None]
        >>> deviation = norm(brighter).std((2, 3), correction=0)
        >>> deviation[:, 0].allclose(torch.ones(2), atol=1e-3), deviation[:, 3].round()
        (True, tensor([0., 1.], grad_fn=<RoundBackward0>))
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        own = channels // 2
        self.IN = nn.InstanceNorm2d(own, affine=True)
        self.BN = nn.BatchNorm2d(channels - own)

    def forward(self, maps: Tensor) -> Tensor:
        """Normalize feature maps.

        Args:
            maps: Feature maps of shape ``(B, C, H, W)``.

        Returns:
            Normalized maps of the same shape.
        """
        own, others = maps.tensor_split([self.IN.num_features], 1)
        return torch.cat([self.IN(own), self.BN(others)], 1)
