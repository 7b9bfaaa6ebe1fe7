"""Learning rates by layer against a slow reading of the names."""

from __future__ import annotations

import re

import pytest
from mmengine.optim import build_optim_wrapper
from small_models import SMALL_CNN, SMALL_T2T, SMALL_VIT, fusion_model
from torch import nn

from fusionreid.errors import ConfigError
from fusionreid.registry import MODELS

SWIN = dict(
    type='BackboneAdapter',
    backbone=dict(
        type='mmpretrain.SwinTransformer',
        arch=dict(embed_dims=8, depths=[1, 2, 1, 1], num_heads=[1, 2, 2, 2]),
    ),
)


@pytest.fixture(scope='module')
def model() -> nn.Module:
    return MODELS.build(fusion_model())


def rates(model: nn.Module, **rules) -> dict[str, float]:
    """The learning rate of each parameter, as a multiple of the base rate."""
    cfg = dict(
        constructor='LayerDecayParamGroups',
        optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.1),
        paramwise_cfg=rules,
    )
    groups = build_optim_wrapper(model, cfg).optimizer.param_groups
    by_id = {id(value): group['lr'] / 0.01 for group in groups for value in group['params']}
    return {
        name: by_id[id(value)] for name, value in model.named_parameters() if value.requires_grad
    }


def test_a_transformer_layer_by_layer(model):
    found = rates(model, layer_decay_rate=dict(transformer=0.5))
    start = 'branches.transformer.backbone.'
    for name, rate in found.items():
        layer = re.match(re.escape(start) + r'layers\.(\d)\.', name)
        # Two layers; stem, class token and positions are before the first of them.
        if layer:
            expected = 0.5 ** (2 - int(layer[1]))
        elif name.startswith((f'{start}patch_embed', f'{start}cls_', f'{start}pos_')):
            expected = 0.5**3
        else:
            expected = 1
        assert rate == pytest.approx(expected), name
    assert found[f'{start}sie.weight'] == 1


def test_one_rate_for_all_backbones_and_other_rules_hold(model):
    found = rates(model, layer_decay_rate=0.5, custom_keys=dict(bias=dict(lr_mult=2.0)))
    cnn = 'branches.cnn.backbone.'
    # ResNet-50 in mmpretrain's count: a stem, and 1, 2, 2 and 1 parts of its stages.
    assert found[f'{cnn}conv1.weight'] == pytest.approx(0.5**7)
    assert found[f'{cnn}layer1.0.conv1.weight'] == pytest.approx(0.5**6)
    assert found[f'{cnn}layer3.5.conv1.weight'] < found[f'{cnn}layer4.2.conv1.weight'] < 1
    assert found[f'{cnn}bn1.bias'] == pytest.approx(2 * found[f'{cnn}conv1.weight'])
    assert found['branches.transformer.backbone.ln1.bias'] == pytest.approx(2)
    assert found['heads.cnn.classifier.weight'] == 1


def test_swin_behind_the_adapter():
    found = rates(MODELS.build(fusion_model(cnn=None, transformer=SWIN)), layer_decay_rate=0.5)
    start = 'branches.transformer.backbone.model.'
    assert found[f'{start}patch_embed.projection.weight'] == pytest.approx(0.5**6)
    assert found[f'{start}stages.1.blocks.1.norm1.weight'] == pytest.approx(0.5**3)
    assert found[f'{start}stages.3.blocks.0.norm1.weight'] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ('branches', 'rate', 'expected'),
    [
        (dict(cnn=None, transformer=SMALL_T2T), 0.5, "layer_decay_rate: '' is no backbone"),
        (dict(transformer=None, cnn={**SMALL_CNN, 'depth': 18}), 0.5, 'ReIDResNet'),
        (dict(transformer=SMALL_VIT), dict(swin=0.5), "'swin' is no backbone"),
        (dict(transformer=SMALL_VIT), None, 'needs optim_wrapper'),
    ],
    ids=['no depths', 'ResNet-18', 'no such branch', 'no rate'],
)
def test_what_has_no_depths_is_named(branches, rate, expected):
    with pytest.raises(ConfigError, match=expected):
        rates(MODELS.build(fusion_model(**branches)), layer_decay_rate=rate)
