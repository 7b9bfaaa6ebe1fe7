"""Several backbones side by side, as the one backbone of another project's model."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule, ModuleDict
from torch import Tensor

from fusionreid.registry import MODELS

from .backbone_adapter import read_mmpretrain


@MODELS.register_module()
class ParallelBackbones(BaseModule):
    """Gives the last map of each of several backbones, for a neck that fuses them.

    It is the ``backbone`` of an mmpretrain model whose ``neck`` is
    :class:`~fusionreid.models.DualAttentionMutualFusion`.

    Args:
        backbones: Configs of the backbones by name. Each gives a map ``(B, C, H, W)``, or several
            of which the last is taken, or the tokens of a transformer with ``patch_resolution``,
            which are laid on its grid without the class token.
        init_cfg: Initialization config.

    Raises:
        ValueError: If there is no backbone.

    Example:
        >>> import torch
        >>> network = dict(type='mmpretrain.MobileNetV2', widen_factor=0.25)
        >>> backbones = ParallelBackbones(dict(first=network, second=network)).eval()
        >>> maps = backbones(torch.zeros(1, 3, 64, 32))
        >>> {name: tuple(map_.shape) for name, map_ in maps.items()}
        {'first': (1, 1280, 2, 1), 'second': (1, 1280, 2, 1)}
    """

    def __init__(
        self, backbones: dict[str, dict[str, Any]], init_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__(init_cfg)
        if not backbones:
            raise ValueError('ParallelBackbones needs at least one backbone, by name')
        self.backbones = ModuleDict({name: MODELS.build(cfg) for name, cfg in backbones.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Encode images.

        Args:
            images: Normalized images of shape ``(B, 3, H, W)``.

        Returns:
            By name, a map of shape ``(B, C, H', W')``.

        Raises:
            ValueError: If a backbone gives no map.
        """
        return {
            name: read_mmpretrain(backbone, images)[1] for name, backbone in self.backbones.items()
        }
