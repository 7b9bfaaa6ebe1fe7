"""The form for inference gives the features of the trained model and leaves it alone."""

from __future__ import annotations

import copy

import pytest
import torch
from small_models import SMALL_CNN, SMALL_T2T, SMALL_VIT, build_random, fusion_model
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrizations

from fusionreid.models import inference_form
from fusionreid.models.inference_form import fold_batch_norms

CNNS = {
    'ReIDResNet, stem of the release': SMALL_CNN,
    'ReIDResNet, deep stem': dict(type='ReIDResNet', depth=18, base_channels=8, deep_stem=True),
    'mmpretrain MobileNetV2': dict(type='mmpretrain.MobileNetV2', widen_factor=0.25),
    # Its convolutions pad by themselves.
    'mmpretrain EfficientNet': dict(type='mmpretrain.EfficientNet', arch='b0'),
    'timm ResNet': dict(type='timm', model_name='resnet18'),
    # Batch norms that activate, some of them before the convolution.
    'timm ResNetV2': dict(type='timm', model_name='resnetv2_18', norm_layer='batchnorm2d'),
    # Maps that go into several batch norms.
    'timm DenseNet': dict(type='timm', model_name='densenet121', block_config=(2, 2, 2, 2)),
}
SIZE = (64, 32)


def build(backbone: dict) -> nn.Module:
    """A model of one CNN whose batch norms do something."""
    if backbone['type'].startswith(('timm', 'mmpretrain')):
        backbone = dict(type='BackboneAdapter', backbone=backbone, img_size=SIZE)
    torch.manual_seed(0)
    model = build_random(fusion_model(backbone, None))
    for norm in batch_norms(model.branches):
        nn.init.normal_(norm.running_mean, std=0.1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return model


def batch_norms(module: nn.Module) -> list[nn.Module]:
    return [each for each in module.modules() if isinstance(each, _BatchNorm)]


@torch.no_grad()
def check_same(model: nn.Module, folded: nn.Module, tolerance: float = 1e-11) -> None:
    """Compare the features, relative to the largest value."""
    weight = next(model.parameters())
    images = torch.randn(3, 3, *SIZE, generator=torch.Generator().manual_seed(1)).to(weight)
    expected, found = model(images), folded(images)
    assert found.keys() == expected.keys()
    for name, feature in expected.items():
        scale = feature.abs().max()
        assert scale > 0
        torch.testing.assert_close(found[name] / scale, feature / scale, rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize('name', CNNS)
def test_every_cnn_keeps_its_features(name):
    model = build(CNNS[name]).double()
    folded = inference_form(model, SIZE)
    check_same(model, folded)
    before, after = len(batch_norms(model.branches)), len(batch_norms(folded.branches))
    assert before > 0
    match name:
        case 'mmpretrain EfficientNet':
            assert after == before
        case 'timm ResNetV2' | 'timm DenseNet':
            assert 0 < after < before
        case _:
            assert after == 0


def test_the_deviation_in_single_precision_is_rounding():
    model = build(SMALL_CNN)
    check_same(model, inference_form(model, SIZE), 1e-6)


@pytest.mark.parametrize('transformer', [SMALL_VIT, SMALL_T2T], ids=lambda each: each['type'])
def test_fusion_models_keep_their_features(transformer):
    model = build_random(fusion_model(SMALL_CNN, dict(transformer, img_size=SIZE))).double()
    folded = inference_form(model, SIZE)
    check_same(model, folded)
    assert not batch_norms(folded.branches.cnn)
    # Once more changes nothing.
    check_same(folded, inference_form(folded, SIZE))


def test_the_model_itself_stays_as_it_is():
    model = build(SMALL_CNN)
    before = copy.deepcopy(model.state_dict())
    folded = inference_form(model, SIZE)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(after[name].stride() == value.stride() for name, value in before.items())
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in model.modules())
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in folded.modules())
    # What is not folded is shared, not copied.
    assert folded.heads.cnn.classifier.weight is model.heads.cnn.classifier.weight
    # And it can still be trained.
    images = torch.randn(2, 3, *SIZE)
    model.train().extract(images)['cnn'].sum().backward()
    backbone = model.branches.cnn.backbone
    assert backbone.bn1.weight.grad is not None
    assert not torch.equal(
        backbone.bn1.running_mean, before['branches.cnn.backbone.bn1.running_mean']
    )


def test_a_model_in_training_is_refused():
    model = build(SMALL_CNN).train()
    with pytest.raises(ValueError, match=r'call eval\(\)'):
        inference_form(model, SIZE)


class Odd(nn.Module):
    """Convolutions and batch norms that must not be folded, and one pair that must."""

    def __init__(self) -> None:
        super().__init__()
        self.used_twice, self.norm_twice = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.called_twice, self.norm_calls = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.before, self.norm_after_relu = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.normed = parametrizations.weight_norm(nn.Conv2d(4, 4, 1))
        self.norm_of_normed = nn.BatchNorm2d(4)
        self.no_statistics = nn.Conv2d(4, 4, 1)
        self.norm_of_batch = nn.BatchNorm2d(4, track_running_stats=False)
        self.last, self.norm_of_last = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        # Registered in the other order than they are called.
        self.norm_first = nn.BatchNorm2d(4)
        self.called_first = nn.Conv2d(4, 4, 1, bias=False)

    def forward(self, images):
        once = self.used_twice(images)
        value = self.norm_twice(once) + once
        value = self.norm_calls(self.called_twice(self.called_twice(value)))
        value = self.norm_after_relu(F.relu_(self.before(value)))
        value = self.norm_of_normed(self.normed(value))
        value = self.norm_of_batch(self.no_statistics(value))
        value = self.norm_first(self.called_first(value))
        returned = self.last(value)
        return returned, self.norm_of_last(returned)


def test_only_a_batch_norm_right_after_a_convolution_is_folded():
    torch.manual_seed(0)
    network = Odd().double().eval()
    for norm in batch_norms(network):
        nn.init.normal_(norm.weight)
        if norm.running_mean is not None:
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2)
    images = torch.randn(2, 3, *SIZE).double()
    expected = network(images)
    fold_batch_norms(network, SIZE)
    for ours, theirs in zip(network(images), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)
    folded = {name for name, each in network.named_modules() if isinstance(each, nn.Identity)}
    assert folded == {'norm_first'}


def test_a_layer_with_a_hook_keeps_it():
    model = build(SMALL_CNN)
    seen = []
    norm = model.branches.cnn.backbone.bn1
    norm.register_forward_hook(lambda *_: seen.append(True))
    folded = inference_form(model, SIZE)
    seen.clear()
    check_same(folded, folded)
    assert seen
