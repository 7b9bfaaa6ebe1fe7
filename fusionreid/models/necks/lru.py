"""The Local Refinement Unit, which brings a map to the mixing width."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from fusionreid.registry import MODELS


@MODELS.register_module()
class LocalRefinementUnit(BaseModule):
    """Local Refinement Unit (LRU): brings one branch's map to the mixing width.

    A depth-wise 1x1 convolution, then a point-wise one, each followed by batch normalization and
    PReLU (arXiv 2412.17239, section on the LRU). The grid keeps its size.

    Args:
        in_channels: Channels of the branch's map.
        out_channels: The mixing width d.
        depthwise: Whether the depth-wise half is built; without it only the projection to d is
            left. Defaults to True.

    Example:
        >>> import torch
        >>> LocalRefinementUnit(8, 12)(torch.rand(2, 8, 4, 2)).shape
        torch.Size([2, 12, 4, 2])
    """

    def __init__(self, in_channels: int, out_channels: int, depthwise: bool = True) -> None:
        super().__init__()
        self.plain = False
        self.depthwise = (
            nn.Sequential(
                nn.Conv2d(in_channels, in_channels, 1, groups=in_channels),
                nn.BatchNorm2d(in_channels),
                nn.PReLU(),
            )
            if depthwise
            else nn.Identity()
        )
        self.pointwise = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels), nn.PReLU()
        )

    def forward(self, feature_map: Tensor) -> Tensor:
        """Refine a map.

        Args:
            feature_map: Map of shape ``(B, in_channels, H, W)``.

        Returns:
            Refined map of shape ``(B, out_channels, H, W)``.
        """
        return self.pointwise(self._depthwise(feature_map))

    def _depthwise(self, feature_map: Tensor) -> Tensor:
        if self.plain or isinstance(self.depthwise, nn.Identity):
            return self.depthwise(feature_map)
        # A depth-wise convolution of kernel 1 scales and shifts each channel; as a convolution, it
        # takes several times as long.
        convolution: Any  # an nn.Conv2d with bias
        convolution, *rest = self.depthwise
        weight, bias = (
            parameter.view(-1, 1, 1).to(feature_map.dtype)
            for parameter in (convolution.weight, convolution.bias)
        )
        feature_map = feature_map * weight + bias
        for layer in rest:
            feature_map = layer(feature_map)
        return feature_map
