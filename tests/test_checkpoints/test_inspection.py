from __future__ import annotations

import pytest
import timm
import torch
from small_models import SMALL_T2T, build_random, fusion_model

from fusionreid.checkpoints.inspection import describe_state, inspect_weights
from fusionreid.checkpoints.release import export_original_state
from fusionreid.errors import WeightsError


def text_of(state: dict[str, torch.Tensor]) -> str:
    return '\n'.join(f'{title}: {text}' for title, text in describe_state(state))


@pytest.mark.parametrize(
    ('network', 'words'),
    [
        ('resnet50', 'ResNet, torchvision names: ResNet-50, classifier of 1000 classes'),
        (
            'vit_small_patch16_224',
            '12 layers, patches of 16 pixels, width 384, 196 patches (probably 14x14)',
        ),
        ('deit_tiny_distilled_patch16_224', 'width 192, distillation token, 196 patches'),
    ],
)
def test_backbones_of_timm(network, words):
    assert words in text_of(timm.create_model(network).state_dict())


def test_models_of_both_sides():
    model = build_random(fusion_model(units=('mfu',), shared=(), num_layers=3))
    for state in (model.state_dict(), export_original_state(model.state_dict())):
        text = text_of(state)
        assert 'ResNet-50, stem_channels 8, base_channels 8' in text
        assert 'width 64, 16x8 patches (256x128 at stride 16), 3 cameras' in text
        assert 'neck: d = 24, L = 3, units mfu, nothing shared' in text
        assert 'identities: 5' in text


def test_a_t2t_with_any_prefix_and_naming():
    state = build_random(SMALL_T2T).state_dict()
    text = text_of({f'backbone.{name}': value for name, value in state.items()})
    assert "backbone below 'backbone.': T2T-ViT, mmpretrain names: T2T-ViT-2, width 64" in text
    assert '3 cameras' in text


def test_files(tmp_path):
    path = tmp_path / 'dino.pth'
    state = timm.create_model('vit_tiny_patch16_224').state_dict()
    wrapped = {f'backbone.{name}': value for name, value in state.items()}
    torch.save({'teacher': wrapped, 'student': wrapped, 'epoch': 3}, path)
    facts = dict(inspect_weights(path))
    assert facts['state dict'] == "under 'teacher'"
    assert facts['beside it'] == 'student, epoch'
    assert facts['tensors'] == '152 of float32'
    assert facts['parameters'] == '5,717,416'
    assert 'width 192' in facts["backbone below 'backbone.'"]
    torch.save({'rpn.weight': torch.ones(2)}, path)
    assert dict(inspect_weights(path))['model'] == 'unknown; names: rpn.weight'
    torch.save([], path)
    with pytest.raises(WeightsError, match='dino.pth: holds a list'):
        inspect_weights(path)


def test_what_cannot_be_used_is_said():
    odd = {'layer1.0.conv1.weight': torch.ones(4, 4, 1, 1), 'conv1.weight': torch.ones(4, 3, 7, 7)}
    assert 'not one that can be used here (a ResNet with (1, 0, 0, 0) blocks' in text_of(odd)
