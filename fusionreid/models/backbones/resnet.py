"""ResNet for ReID: the stride of its last stage, and the stem of ImageNet or released weights."""

from __future__ import annotations

from typing import Any

from mmpretrain.models.backbones import ResNet
from torch import Tensor, nn

from fusionreid.registry import MODELS
from fusionreid.workarounds.train_mode import TrainReturnsSelf

from ..layers.activation_checkpointing import run_checkpointed
from ..layers.domain_batch_norm import use_domain_batch_norms
from ..layers.instance_batch_norm import InstanceBatchNorm
from ..layers.mix_style import MixStyle


@MODELS.register_module()
class ReIDResNet(TrainReturnsSelf, ResNet):
    """ResNet whose last stage keeps its resolution, as usual in ReID: 256x128 gives a 16x8 map.

    Args:
        depth: 18, 34, 50, 101 or 152.
        stem: ``'standard'``: ReLU after the first batch norm, then a 3x3 max pool with padding 1,
            as in every ImageNet checkpoint. ``'release'``: no ReLU and a 2x2 max pool without
            padding, as in the authors' released code, with which the published numbers were
            measured and which its checkpoints need.
        strides: Strides of the four stages. Defaults to ``(1, 2, 2, 1)``.
        ibn: Whether the first norm of each block of the first three stages is half an instance
            norm, as in the ResNets called IBN-a. Defaults to False.
        mix_style: After which stages the styles of images are mixed in training, from 1, as
            ``(1, 2)``. Defaults to none.
        domain_norm: Names of the sets of a ``JointDataset``, in its order, whose images batch norms
            normalize by statistics of their own while training. Defaults to none: one for all.
        scored_as: The one of them whose statistics are used otherwise; None (default) for those of
            all together.
        with_cp: Whether training recomputes the residual blocks' activations instead of keeping
            them. Defaults to False.
        **kwargs: Everything else that mmpretrain's ResNet takes.

    Raises:
        ValueError: If the stem, a stage or a set is unknown.

    Example:
        >>> import torch
        >>> token, feature_map = ReIDResNet(depth=18)(torch.zeros(1, 3, 64, 32))
        >>> token is None, feature_map.shape
        (True, torch.Size([1, 512, 4, 2]))
    """

    num_cameras = 0

    def __init__(
        self,
        depth: int,
        stem: str = 'standard',
        strides: tuple[int, ...] = (1, 2, 2, 1),
        ibn: bool = False,
        mix_style: tuple[int, ...] = (),
        domain_norm: tuple[str, ...] = (),
        scored_as: str | None = None,
        with_cp: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(depth, strides=strides, **kwargs)
        if stem not in ('standard', 'release'):
            raise ValueError(f"stem must be 'standard' or 'release', got {stem!r}")
        if stem == 'release':
            self.relu = nn.Identity()
            self.maxpool = nn.MaxPool2d(kernel_size=2, stride=2)
        if ibn:
            for name in self.res_layers[:3]:
                for block in getattr(self, name):
                    norm = InstanceBatchNorm(block.norm1.num_features)
                    setattr(block, block.norm1_name, norm)
        if unknown := set(mix_style) - set(range(1, len(self.res_layers) + 1)):
            raise ValueError(
                f'mix_style must be some of the stages 1 to {len(self.res_layers)}, got {unknown}'
            )
        self.mix_style = nn.ModuleDict({self.res_layers[i - 1]: MixStyle() for i in mix_style})
        if domain_norm or scored_as is not None:
            use_domain_batch_norms(self, domain_norm, scored_as)
        self.domain_norm = tuple(domain_norm)
        self.out_channels = self.feat_dim
        # mmpretrain is not told: its recomputation updates the running statistics twice.
        self.with_cp = with_cp

    def forward(self, images: Tensor, camera_ids: Tensor | None = None) -> tuple[None, Tensor]:
        """Encode images.

        Args:
            images: Normalized images of shape ``(B, 3, H, W)``.
            camera_ids: Ignored: a ResNet has no side information embedding.

        Returns:
            None in the place of a class token, and the last stage's map of shape ``(B,
            out_channels, H / 16, W / 16)``.
        """
        if self.deep_stem:
            feature_map = self.stem(images)
        else:
            feature_map = self.relu(self.norm1(self.conv1(images)))
        feature_map = self.maxpool(feature_map)
        for name in self.res_layers:
            stage = getattr(self, name)
            if self.with_cp and self.training:
                for block in stage:
                    feature_map = run_checkpointed(block, feature_map)
            else:
                feature_map = stage(feature_map)
            if name in self.mix_style:
                feature_map = self.mix_style[name](feature_map)
        return None, feature_map
