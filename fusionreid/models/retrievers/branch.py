"""One branch of the model: from images to a feature and a map."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from fusionreid.registry import MODELS


class Branch(BaseModule):
    """One view of the image: a backbone, and GeM pooling where the backbone has no class token.

    Args:
        backbone: Config of a backbone that returns a class token ``(B, C)`` or None, and a map
            ``(B, C, H, W)``; it has the attributes ``out_channels`` and ``num_cameras`` (0 without
            side information embedding).
        pooling: Config of the pooling that makes the feature from the map, or None to take the
            class token.

    Example:
        >>> import torch
        >>> backbone = dict(type='fusionreid.ReIDResNet', depth=18)
        >>> branch = Branch(backbone, pooling=dict(type='fusionreid.GeMPooling'))
        >>> feature, feature_map = branch(torch.zeros(1, 3, 64, 32))
        >>> feature.shape, feature_map.shape
        (torch.Size([1, 512]), torch.Size([1, 512, 4, 2]))
    """

    def __init__(self, backbone: dict[str, Any], pooling: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.pooling = MODELS.build(pooling) if pooling else None

    @property
    def out_channels(self) -> int:
        """Width C of the feature and channels of the map."""
        return self.backbone.out_channels

    @property
    def num_cameras(self) -> int:
        """Cameras that the backbone tells apart; 0 if it looks at the image alone."""
        return self.backbone.num_cameras

    def forward(self, images: Tensor, camera_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode images.

        Args:
            images: Normalized images of shape ``(B, 3, H, W)``.
            camera_ids: Cameras of shape ``(B,)``, -1 for unknown; None means all unknown.

        Returns:
            The feature of shape ``(B, C)`` and the map of shape ``(B, C, H', W')``.

        Raises:
            ValueError: If there is neither a class token nor a pooling.
        """
        token, feature_map = self.backbone(images, camera_ids)
        if self.pooling is not None:
            return self.pooling(feature_map), feature_map
        if token is None:
            raise ValueError(
                f'{type(self.backbone).__name__} gives no class token: add '
                f"pooling=dict(type='GeMPooling') to its branch"
            )
        return token, feature_map
