"""Attention maps against the outputs that they must explain."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from mmengine.registry import DefaultScope
from small_models import SMALL_CNN, SMALL_T2T, build_random, fusion_model
from torch import Tensor, nn
from torch.nn import functional as F

from fusionreid.errors import ExplainError
from fusionreid.explain import attention_rollout, class_token_attention, fusion_attention
from fusionreid.explain.attention_map import AttentionMap
from fusionreid.explain.fusion_attention import htm_attention
from fusionreid.explain.transformer_blocks import self_attention_weights, standard_attentions
from fusionreid.models import plain_computation
from fusionreid.models.layers.attention import merge_heads, split_heads
from fusionreid.models.necks import HeterogenousTransmissionModule

UNITS = [('seu', 'mfu'), ('seu',), ('mfu',), ('mfu', 'seu')]
SHARED = [(), ('seu',), ('mfu',), ('seu', 'mfu')]
SIZES = dict(embed_dim=24, depth=2, num_heads=3)
ARCH = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=32)
VIT = dict(
    type='ReIDVisionTransformer',
    arch=ARCH,
    img_size=(64, 32),
    num_cameras=3,
)
CNN = dict(SMALL_CNN, depth=18)


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('fusionreid'):
        yield


def images(*size: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, *(size or (64, 32)), generator=torch.Generator().manual_seed(0))


def adapted(num_classes: int | None = None, **network: Any) -> dict:
    backbone = dict(type='BackboneAdapter', img_size=(64, 32), backbone=network)
    return fusion_model(cnn=CNN, transformer=backbone, num_classes=num_classes, num_heads=3)


def assert_complete(attention: AttentionMap) -> None:
    """Weights are shares: none is negative, and all of a token's sum to one."""
    total = attention.own + sum(map_.sum((2, 3)) for map_ in attention.maps.values())
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-5)
    assert attention.own.min() >= 0
    assert min(map_.min() for map_ in attention.maps.values()) >= 0


def joined(attention: AttentionMap) -> Tensor:
    """All weights on patches, (B, heads, N)."""
    return torch.cat([map_.flatten(2) for map_ in attention.maps.values()], 2)


def randomize(module: nn.Module) -> nn.Module:
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.3)
    return module.eval()


# ---- the units of the HTM


@pytest.mark.parametrize('units', UNITS)
@pytest.mark.parametrize('shared', SHARED)
@pytest.mark.parametrize('branches', [2, 3])
def test_values_attended_by_the_maps_are_the_output_of_the_htm(units, shared, branches):
    grids = dict(list(dict(cnn=(4, 2), transformer=(5, 3), third=(3, 3)).items())[:branches])
    htm = HeterogenousTransmissionModule(list(grids), 24, 3, units=units, shared=shared)
    randomize(htm).double()
    summaries = {name: torch.randn(2, 1, 24).double() for name in grids}
    patches = {name: torch.randn(2, h * w, 24).double() for name, (h, w) in grids.items()}
    attentions = htm_attention(htm, summaries, patches, grids, number=1)
    places = [(unit, name) for unit in units for name in grids]
    assert [(each.unit, each.branch) for each in attentions] == places
    fast = htm(summaries, patches)  # keys and values are never made
    for unit_name in units:
        after, encoded = {}, dict(patches)
        for name in grids:
            unit = getattr(htm, unit_name).of(name)
            attention = attentions[places.index((unit_name, name))]
            assert_complete(attention)
            assert attention.layer == 1
            weights, summary = joined(attention), summaries[name]
            if unit_name == 'mfu':
                assert list(attention.maps) == [other for other in grids if other != name]
                assert not attention.own.any()
                others = torch.cat([patches[other] for other in attention.maps], 1)
                values = unit.attn.v(others)
            else:
                assert list(attention.maps) == [name]
                weights = torch.cat([attention.own[..., None], weights], 2)
                tokens = torch.cat([summary, patches[name]], 1)
                values = unit.attn.qkv(unit.norm1(tokens)).chunk(3, -1)[2]
                encoded[name] = unit(tokens)[:, 1:]
            attended = merge_heads(weights[:, :, None] @ split_heads(values, 3))
            summary = summary + unit.attn.proj(attended)
            summary = summary + unit.mlp(unit.norm2(summary))
            after[name] = summary if unit_name == 'mfu' else unit.norm(summary)
        summaries, patches = after, encoded
    for name, summary in summaries.items():
        torch.testing.assert_close(summary, fast[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('num_layers', [1, 2, 6])
@pytest.mark.parametrize(
    ('transformer', 'size', 'grid'),
    [
        (VIT, (64, 32), (4, 2)),
        (dict(VIT, patch_stride=12), (64, 32), (5, 2)),
        (dict(VIT, patch_stride=12), (101, 60), (8, 4)),
        (dict(SMALL_T2T, img_size=(64, 32)), (64, 32), (4, 2)),
    ],
    ids=['stride16', 'stride12', 'another_size', 't2t'],
)
def test_every_unit_of_every_layer_has_maps(num_layers, transformer, size, grid):
    model = build_random(fusion_model(CNN, transformer, num_layers=num_layers, num_heads=3))
    cameras = torch.tensor([0, -1])
    attentions = fusion_attention(model, images(*size), cameras)
    assert [(each.layer, each.unit, each.branch) for each in attentions] == [
        (layer, unit, branch)
        for layer in range(num_layers)
        for unit in ('seu', 'mfu')
        for branch in ('cnn', 'transformer')
    ]
    cnn_grid = tuple(model.branches.cnn(images(*size))[1].shape[2:])
    grids = dict(cnn=cnn_grid, transformer=grid)
    for attention in attentions:
        assert_complete(attention)
        ((source, map_),) = attention.maps.items()
        assert (source == attention.branch) == (attention.unit == 'seu')
        assert map_.shape == (2, 3, *grids[source])
        assert map_.dtype == torch.float32
        averaged = attention.average_heads()
        assert_complete(averaged)
        torch.testing.assert_close(averaged.maps[source], map_.mean(1, keepdim=True))
    with plain_computation(model):
        plain = fusion_attention(model, images(*size), cameras)
    for attention, expected in zip(attentions, plain, strict=True):
        torch.testing.assert_close(attention.own, expected.own, rtol=0, atol=1e-5)
        torch.testing.assert_close(attention.maps, expected.maps, rtol=0, atol=1e-5)


def test_a_camera_changes_the_maps():
    model = build_random(fusion_model(CNN, VIT, num_heads=3))
    model.branches.transformer.backbone.sie.weight.data.normal_()
    known = fusion_attention(model, images(), torch.tensor([0, 1]))[-1].maps['cnn']
    unknown = fusion_attention(model, images())[-1].maps['cnn']
    assert not torch.allclose(known, unknown, atol=1e-5)
    model.use_cameras = False
    mean = fusion_attention(model, images(), torch.tensor([0, 1]))[-1].maps['cnn']
    assert torch.equal(mean, unknown)


# ---- the class token


TRANSFORMERS = {
    'vit': fusion_model(CNN, VIT, num_heads=3),
    'alone': fusion_model(None, VIT),
    't2t': fusion_model(CNN, dict(SMALL_T2T, img_size=(64, 32)), num_heads=3),
    'timm': adapted(type='timm', model_name='vit_tiny_patch16_224', **SIZES),
    'timm_registers_and_norms': adapted(
        type='timm',
        model_name='vit_tiny_patch16_224',
        **SIZES,
        reg_tokens=4,
        qk_norm=True,
    ),
    'timm_distilled': adapted(
        type='timm',
        model_name='deit_tiny_distilled_patch16_224',
        **SIZES,
    ),
    'mmpretrain': adapted(
        type='mmpretrain.VisionTransformer',
        arch=ARCH,
    ),
    'mmpretrain_deit3': adapted(
        type='mmpretrain.DeiT3',
        arch=ARCH,
    ),
}


@pytest.mark.parametrize('config', TRANSFORMERS.values(), ids=TRANSFORMERS)
def test_values_attended_by_the_class_token_are_the_output_of_its_attention(config):
    model = build_random(config).double()
    layers = standard_attentions(model, 'transformer')
    for layer in layers:  # attention far from uniform
        nn.init.normal_(layer.qkv.weight, std=0.5)
    called: list[tuple[Tensor, Tensor]] = []
    hooks = [
        layer.register_forward_hook(lambda _, args, output: called.append((args[0], output)))
        for layer in layers
    ]
    attentions = class_token_attention(model, images().double())
    for hook in hooks:
        hook.remove()
    assert len(attentions) == len(layers)
    for attention, layer, (tokens, output) in zip(attentions, layers, called, strict=True):
        assert attention.unit == 'class_token'
        assert_complete(attention)
        assert attention.maps['transformer'].shape == (2, layer.num_heads, 4, 2)
        weights = self_attention_weights(layer, tokens)
        num_extra = tokens.shape[1] - 8
        torch.testing.assert_close(joined(attention), weights[:, :, 0, num_extra:])
        torch.testing.assert_close(attention.own, weights[:, :, 0, :num_extra].sum(-1))
        values = split_heads(layer.qkv(tokens).chunk(3, -1)[2], layer.num_heads)
        expected = layer.proj(merge_heads(weights @ values))
        expected = getattr(layer, 'gamma1', nn.Identity())(expected)  # mmpretrain's layer scale
        torch.testing.assert_close(output, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('config', TRANSFORMERS.values(), ids=TRANSFORMERS)
def test_rollout_multiplies_attention_and_residual(config):
    model = build_random(config)
    layers = standard_attentions(model, 'transformer')
    tokens: list[Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, args: tokens.append(args[0])) for layer in layers
    ]
    rollout = attention_rollout(model, images())
    for hook in hooks:
        hook.remove()
    row = F.one_hot(torch.zeros(2, dtype=torch.long), tokens[0].shape[1]).float()[:, None]
    for layer, seen in reversed(list(zip(layers, tokens, strict=True))):
        row = (row + row @ self_attention_weights(layer, seen).mean(1)) / 2
    assert_complete(rollout)
    assert rollout.layer == len(layers) - 1
    torch.testing.assert_close(joined(rollout), row[:, :, -8:], rtol=0, atol=1e-6)


def test_the_scale_of_t2t_is_its_own():
    """The released T2T-ViT scales by the input width, which a guess from the head would miss."""
    model = build_random(fusion_model(CNN, dict(SMALL_T2T, img_size=(64, 32)), num_heads=3))
    layer = standard_attentions(model, 'transformer')[0]
    layer.scaled_dot_product_attention = partial(F.scaled_dot_product_attention, scale=0.0)
    maps = class_token_attention(model, images())[0].maps['transformer']
    torch.testing.assert_close(maps, torch.full_like(maps, 1 / 9))


EVA = dict(type='timm', model_name='eva02_tiny_patch14_224', patch_size=16, **SIZES)
POOLED_VIT = dict(
    type='timm',
    model_name='vit_tiny_patch16_224',
    class_token=False,
    global_pool='avg',
    **SIZES,
)


def pooled(config: dict) -> dict:
    config['branches']['transformer']['pooling'] = dict(type='GeMPooling')
    return config


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (fusion_model(CNN, None), 'no branch of .* has the blocks of a Vision Transformer'),
        (
            pooled(adapted(type='mmpretrain.SwinTransformer', arch='tiny')),
            'no branch of .* has the blocks of a Vision Transformer',
        ),
        (adapted(**EVA), r'\(eva02_tiny_patch14_224\) is .*, not the standard softmax'),
        (
            adapted(type='mmpretrain.BEiTViT', arch=ARCH),
            'is BEiTAttention, not the standard softmax',
        ),
        (pooled(adapted(**POOLED_VIT)), "branch 'transformer' gives no class token"),
    ],
    ids=['cnn', 'swin', 'eva02', 'beit', 'no_class_token'],
)
def test_attention_that_cannot_be_shown_says_so(config, message):
    model = build_random(config)
    for function in (class_token_attention, attention_rollout):
        with pytest.raises(ExplainError, match=message):
            function(model, images())


def test_unusable_input_is_named():
    model = build_random(fusion_model(CNN, VIT, num_heads=3))
    for bad, message in (
        (images()[0], r'got torch.float32 of shape \(3, 64, 32\)'),
        (images().byte(), 'got torch.uint8'),
    ):
        with pytest.raises(ExplainError, match=message):
            fusion_attention(model, bad)
    with pytest.raises(ExplainError, match='camera 3 is outside the 3 cameras'):
        fusion_attention(model, images(), torch.tensor([0, 3]))
    with pytest.raises(ExplainError, match=r'2 images but camera_ids of shape \(1,\)'):
        fusion_attention(model, images(), torch.tensor([0]))
    with pytest.raises(ExplainError, match="branch 'vit' is unknown: the model has"):
        class_token_attention(model, images(), branch='vit')
    with pytest.raises(ExplainError, match="branch 'cnn' .* no blocks of a Vision Transformer"):
        class_token_attention(model, images(), branch='cnn')
    with pytest.raises(ExplainError, match='a Sequential cannot be looked into'):
        fusion_attention(nn.Sequential(model), images())
    for alone in (fusion_model(CNN, None), fusion_model(CNN, VIT, num_layers=0, num_heads=3)):
        with pytest.raises(ExplainError, match='has no HTM'):
            fusion_attention(build_random(alone), images())


# ---- nothing stays behind


def fingerprint(model: nn.Module) -> list[Any]:
    """Modes, hooks, gradients and attributes of every module."""
    return [
        (dict(vars(module)), dict(module._forward_hooks), dict(module._forward_pre_hooks))
        for module in model.modules()
    ] + [weight.grad for weight in model.parameters()]


@pytest.mark.parametrize('training', [True, False])
def test_the_model_stays_as_it_was(training):
    config = fusion_model(CNN, VIT, num_heads=3) | dict(compile=dict(backend='eager'))
    model = build_random(config)
    model.train(training)
    model.branches.cnn.backbone.layer1.train(not training)  # not all in one mode
    state, before = copy.deepcopy(model.state_dict()), fingerprint(model)
    expected = class_token_attention(copy.deepcopy(model).eval(), images())
    for context in (nullcontext(), torch.inference_mode()):
        with context:
            attentions = class_token_attention(model, images())
            attention_rollout(model, images())
            fusion_attention(model, images())
        for ours, theirs in zip(attentions, expected, strict=True):
            assert torch.equal(ours.maps['transformer'], theirs.maps['transformer'])
            assert not ours.maps['transformer'].requires_grad
    assert fingerprint(model) == before
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_a_failure_inside_leaves_no_hook():
    model = build_random(fusion_model(CNN, VIT, num_heads=3)).train()
    before = fingerprint(model)
    with pytest.raises(RuntimeError):
        fusion_attention(model, torch.randn(1, 3, 8, 8))  # no patch fits
    assert fingerprint(model) == before
