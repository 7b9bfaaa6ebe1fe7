"""GeM pooling, as a function of a tensor and as a module with a learnable exponent."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from fusionreid.registry import MODELS


def generalized_mean(feature_map: Tensor, exponent: Tensor | float, eps: float = 1e-6) -> Tensor:
    """Pool a feature map by the generalized mean over its positions.

    ``(mean(max(x, eps) ** p)) ** (1 / p)``, from "Fine-tuning CNN Image Retrieval with No Human
    Annotation" (arXiv 1711.02512), equation 3. Half precision is computed in float32, since a
    cubed float16 activation overflows from 41 on.

    Args:
        feature_map: Map of shape ``(B, C, H, W)``.
        exponent: The exponent p, at least 1; 1 is average pooling, larger ones come closer to
            maximum pooling.
        eps: Smallest activation that is kept.

    Returns:
        Pooled features of shape ``(B, C)``, in the type of ``feature_map``.

    Example:
        >>> feature_map = torch.tensor([1.0, 7.0]).view(1, 1, 2, 1)
        >>> generalized_mean(feature_map, 1), generalized_mean(feature_map, 3)
        (tensor([[4.]]), tensor([[5.5613]]))
    """
    wide = feature_map.to(torch.promote_types(feature_map.dtype, torch.float32))
    powered = wide.clamp(min=eps).pow(exponent)
    return powered.mean(dim=(2, 3)).pow(1.0 / exponent).to(feature_map.dtype)


@MODELS.register_module()
class GeMPooling(BaseModule):
    """Generalized-mean (GeM) pooling with a learnable exponent.

    Args:
        exponent: Initial exponent p. Defaults to 3.
        eps: Smallest activation that is kept. Defaults to 1e-6.
        learnable: Whether p is trained. Defaults to True.

    Raises:
        ValueError: If the exponent is below 1.
    """

    def __init__(self, exponent: float = 3.0, eps: float = 1e-6, learnable: bool = True) -> None:
        super().__init__()
        if exponent < 1:
            raise ValueError(f'GeM needs an exponent of at least 1, got {exponent}')
        self.p = nn.Parameter(torch.full((1,), float(exponent)), requires_grad=learnable)
        self.eps = eps

    def forward(self, feature_map: Tensor) -> Tensor:
        """Pool maps.

        Args:
            feature_map: Map of shape ``(B, C, H, W)``.

        Returns:
            Features of shape ``(B, C)``.
        """
        return generalized_mean(feature_map, self.p, self.eps)
