"""Configs of small models that the released code's names and shapes can express."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fusionreid.registry import MODELS

# What a model of both branches with the published neck gives, in order.
FEATURES = (
    'cnn',
    'transformer',
    'cnn_refined',
    'transformer_refined',
    'cnn_fused',
    'transformer_fused',
)

SMALL_CNN = dict(type='ReIDResNet', depth=50, stem='release', base_channels=8, stem_channels=8)
SMALL_VIT = dict(
    type='ReIDVisionTransformer',
    arch=dict(embed_dims=64, num_layers=2, num_heads=1, feedforward_channels=96),
    patch_stride=16,
    num_cameras=3,
)
SMALL_T2T = dict(type='ReIDT2TViT', embed_dims=64, num_layers=2, num_heads=1, num_cameras=3)


def fusion_model(
    cnn: dict | None = SMALL_CNN,
    transformer: dict | None = SMALL_VIT,
    num_classes: int | None = 5,
    **neck: Any,
) -> dict[str, Any]:
    """Config of a fusion model, or of a single branch where the other is None."""
    branches = {}
    if cnn:
        branches['cnn'] = dict(backbone=cnn, pooling=dict(type='GeMPooling'))
    if transformer:
        branches['transformer'] = dict(backbone=transformer)
    both = cnn and transformer
    neck = dict(type='DualAttentionMutualFusion', embed_dims=24, **neck) if both else None
    head = dict(type='BNNeckHead', num_classes=num_classes) if num_classes else None
    return dict(type='FusionReID', branches=branches, neck=neck, head=head)


def build_random(model: dict[str, Any]) -> nn.Module:
    """Build a model in eval mode, none of whose weights is at its initial value."""
    module = MODELS.build(model)
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.rand_like(value), alpha=0.02)
    return module.eval()


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    """Check that two state dicts are equal bit by bit."""
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert value.dtype == right[name].dtype, name
        assert torch.equal(value, right[name]), name
