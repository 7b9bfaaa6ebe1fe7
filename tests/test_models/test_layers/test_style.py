"""Instance-batch norm and MixStyle against their definitions, and in a ResNet."""

from __future__ import annotations

import pytest
import torch
from small_models import assert_same, build_random
from torch.nn import functional as F

from fusionreid.errors import WeightsError
from fusionreid.models.backbones import ReIDResNet
from fusionreid.models.layers.instance_batch_norm import InstanceBatchNorm
from fusionreid.models.layers.mix_style import MixStyle, mix_style
from fusionreid.registry import MODELS


def test_halves_are_normalized_each_in_its_way():
    norm, maps = InstanceBatchNorm(5), torch.randn(3, 5, 4, 2)
    expected = torch.cat(
        [F.instance_norm(maps[:, :2]), F.batch_norm(maps[:, 2:], None, None, training=True)], 1
    )
    torch.testing.assert_close(norm(maps), expected)
    assert sorted(norm.state_dict())[:2] == ['BN.bias', 'BN.num_batches_tracked']


@pytest.mark.parametrize('depth', [18, 50])
def test_the_resnet_has_it_where_the_released_ones_have_it(depth):
    plain, ibn = (
        ReIDResNet(depth, base_channels=8, stem_channels=8, ibn=ibn) for ibn in (False, True)
    )
    found = [name for name, module in ibn.named_modules() if isinstance(module, InstanceBatchNorm)]
    blocks = dict(zip((18, 50), ([2, 2, 2], [3, 4, 6]), strict=True))[depth]
    assert found == [
        f'layer{stage}.{block}.bn1'
        for stage, count in enumerate(blocks, 1)
        for block in range(count)
    ]
    # The same number of weights; a running statistic for half of the channels.
    trained = [sum(p.numel() for p in model.parameters()) for model in (plain, ibn)]
    assert trained[0] == trained[1]
    brighter = torch.randn(2, 3, 64, 32)
    assert ibn.eval()(brighter)[1].shape == plain.eval()(brighter)[1].shape


def test_each_map_gets_the_style_between_two():
    maps, partners = torch.randn(4, 3, 5, 5), torch.tensor([2, 0, 3, 1])
    share = torch.tensor([1.0, 0.0, 0.25, 0.5])
    mixed = mix_style(maps, partners, share)
    torch.testing.assert_close(mixed[0], maps[0])
    for row, partner in enumerate(partners.tolist()):
        for moment in (torch.mean, torch.std):
            own, other = (moment(maps[each], (1, 2)) for each in (row, partner))
            wanted = share[row] * own + (1 - share[row]) * other
            torch.testing.assert_close(moment(mixed[row], (1, 2)), wanted, atol=1e-4, rtol=1e-4)


def test_styles_are_mixed_in_training_alone():
    layer, maps = MixStyle(probability=0.5), torch.randn(6, 3, 4, 4)
    assert layer.eval()(maps) is maps
    layer.train()
    torch.manual_seed(0)
    left = sum(layer(maps) is maps for _ in range(400))
    assert 150 < left < 250
    backbone = ReIDResNet(18, base_channels=8, stem_channels=8, mix_style=(1, 2))
    images = torch.randn(4, 3, 64, 32)
    backbone.eval()
    assert torch.equal(backbone(images)[1], backbone(images)[1])
    backbone.train()(images)[1].sum().backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match=r'stages 1 to 4, got \{5\}'):
        ReIDResNet(18, mix_style=(1, 5))
    with pytest.raises(ValueError, match='got 1.5'):
        MixStyle(probability=1.5)
    with pytest.raises(ValueError, match='got 0'):
        MixStyle(alpha=0.0)


def test_released_names_are_read(tmp_path):
    config = dict(type='ReIDResNet', depth=18, base_channels=8, stem_channels=8)
    state = build_random(config | dict(ibn=True)).state_dict()
    torch.save(state | {'fc.weight': torch.zeros(10, 64)}, tmp_path / 'ibn.pth')
    initial = dict(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'ibn.pth')))
    backbone = MODELS.build(config | dict(ibn=True) | initial)
    backbone.init_weights()
    assert_same(backbone.state_dict(), state)
    with pytest.raises(WeightsError, match='IN.weight has no place'):
        MODELS.build(config | initial).init_weights()
