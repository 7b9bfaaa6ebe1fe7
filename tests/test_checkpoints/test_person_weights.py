"""Weights of networks that were pre-trained on people, in the names of their files."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from mmpretrain.models.backbones import SwinTransformer
from small_models import SMALL_VIT
from torch import Tensor, nn
from torch.nn import functional as F

from fusionreid.checkpoints import Pretrained, match_weights
from fusionreid.checkpoints.backbone_inspection import describe_backbones
from fusionreid.checkpoints.swin_weights import fold_semantic_weight
from fusionreid.errors import WeightsError
from fusionreid.registry import MODELS

SWIN_ARCH = dict(embed_dims=8, depths=[1, 2, 1, 1], num_heads=[1, 2, 2, 2])
SWIN = dict(
    type='BackboneAdapter',
    img_size=(64, 32),
    backbone=dict(type='mmpretrain.SwinTransformer', arch=SWIN_ARCH),
)
# SOLIDER's stages after the first get a factor and a shift.
SOLIDER = {
    **SWIN,
    'backbone': SWIN['backbone'] | dict(stage_cfgs=dict(downsample_cfg=dict(bias=True))),
}
ICS_VIT = {**SMALL_VIT, 'stem': 'convolutional', 'img_size': (64, 32), 'num_cameras': 0}
PATCH_MERGING = ('downsample.norm.weight', 'downsample.norm.bias', 'downsample.reduction.weight')


def start(backbone: dict[str, Any], path, content: Any, **options: Any) -> nn.Module:
    """Build a backbone and initialize it from a file, as the runner does."""
    torch.save(content, path)
    cfg = dict(type='Pretrained', checkpoint=str(path), **options)
    module = MODELS.build({**backbone, 'init_cfg': cfg})
    module.init_weights()
    return module.eval()


def randomize(module: nn.Module) -> nn.Module:
    """Leave no weight at its initial value."""
    for name, value in module.state_dict().items():
        if name.endswith('running_var'):
            value.uniform_(0.5, 1.5)
        elif value.is_floating_point():
            value.normal_(std=0.3)
    module.eval()  # mmpretrain's backbones return nothing
    return module


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def plain_swin() -> SwinTransformer:
    """The Swin inside of SOLIDER, under the names of its files."""
    return randomize(
        SwinTransformer(SWIN_ARCH, (64, 32), out_indices=(0, 1, 2, 3), pad_small_map=True)
    )


def solider_file(swin: SwinTransformer) -> dict[str, Any]:
    """What SOLIDER saves: a teacher below ``backbone.``, with conditions for four stages."""
    state = dict(swin.state_dict())
    for stage, width in enumerate((16, 32, 64, 64)):
        for layer in ('w', 'b'):
            state[f'semantic_embed_{layer}.{stage}.weight'] = torch.randn(width, 2)
            state[f'semantic_embed_{layer}.{stage}.bias'] = torch.randn(width)
    head = {'head.mlp.0.weight': torch.ones(3, 3), 'head.last_layer.weight_g': torch.ones(3, 1)}
    return {'teacher': {**prefixed('backbone.', state), **head}, 'epoch': 100}


@torch.no_grad()
def run_solider(
    swin: SwinTransformer, state: dict[str, Tensor], images: Tensor, w: float
) -> Tensor:
    """The last map of SOLIDER's Swin, stage by stage as its paper describes it."""
    condition = torch.tensor([w, 1 - w])
    tokens, grid = swin.patch_embed(images)
    for number, stage in enumerate(swin.stages):
        for block in stage.blocks:
            tokens = block(tokens, grid)
        if stage.downsample is None:
            break
        tokens, grid = stage.downsample(tokens, grid)
        factor, shift = (
            state[f'backbone.semantic_embed_{layer}.{number}.weight'] @ condition
            + state[f'backbone.semantic_embed_{layer}.{number}.bias']
            for layer in ('w', 'b')
        )
        tokens = tokens * F.softplus(factor) + shift
    return swin.norm3(tokens).transpose(1, 2).unflatten(2, grid)


@pytest.mark.parametrize('weight', [0.2, 1.0])
def test_soliders_swin_gives_the_same_map_as_a_usual_one(tmp_path, weight):
    swin = plain_swin()
    file = solider_file(swin)
    ours = start(SOLIDER, tmp_path / 'solider.pth', file, semantic_weight=weight)
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        _, found = ours(images)
    expected = run_solider(swin, file['teacher'], images, weight)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found, run_solider(swin, file['teacher'], images, 0.7), atol=1e-2)


def test_soliders_weights_are_all_placed_or_named():
    file = solider_file(plain_swin())['teacher']
    match = match_weights(MODELS.build(SOLIDER), fold_semantic_weight(file, 0.2))
    assert match.share == 1
    assert not match.missing
    assert not match.misfits
    # Norms of earlier stages, the projection head, and what comes after the last stage.
    assert {name.split('.')[1] for name in match.ignored if 'backbone.' in name} == {
        'norm0',
        'norm1',
        'norm2',
        'semantic_embed_w',
        'semantic_embed_b',
    }


@pytest.mark.parametrize(
    ('backbone', 'options', 'expected'),
    [
        (SOLIDER, {}, r'solider\.pth: .*add semantic_weight=0\.2'),
        (SOLIDER, dict(semantic_weight=1.5), r'\[0, 1\], got 1\.5'),
        (SWIN, dict(semantic_weight=0.2), r'downsample\.reduction\.bias has no place'),
    ],
    ids=['no weight', 'weight out of range', 'no bias'],
)
def test_solider_is_not_taken_for_a_usual_swin(tmp_path, backbone, options, expected):
    file = solider_file(plain_swin())
    with pytest.raises(WeightsError, match=expected):
        start(backbone, tmp_path / 'solider.pth', file, **options)


def test_a_semantic_weight_is_for_solider_alone(tmp_path):
    with pytest.raises(WeightsError, match='none of SOLIDER'):
        start(SWIN, tmp_path / 'a.pth', plain_swin().state_dict(), semantic_weight=0.2)
    with pytest.raises(ValueError, match='takes no semantic_weight'):
        Pretrained('a.pth', exact=True, semantic_weight=0.2)


@pytest.mark.parametrize('damage', ['missing', 'shape', 'rows'])
def test_damaged_semantic_layers_are_refused(damage):
    file = solider_file(plain_swin())['teacher']
    if damage == 'missing':
        del file['backbone.semantic_embed_w.1.bias']
    elif damage == 'shape':
        file['backbone.semantic_embed_b.1.weight'] = torch.ones(32, 3)
    else:
        file['backbone.stages.1.downsample.reduction.weight'] = torch.ones(7, 64)
    with pytest.raises(WeightsError, match=r'1\.downsample|semantic_embed_[wb]\.1'):
        fold_semantic_weight(file, 0.2)


def swin_project_file() -> dict[str, Tensor]:
    """A file of the Swin project: its names, and norms and reductions ordered by patch."""
    names = {'stages.': 'layers.', '.w_msa': '', 'ffn.layers.0.0': 'mlp.fc1'}
    names |= {'ffn.layers.1': 'mlp.fc2', 'projection': 'proj', 'norm3': 'norm'}
    state = {}
    for name, value in (
        randomize(SwinTransformer(SWIN_ARCH, (64, 32), pad_small_map=True)).state_dict().items()
    ):
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        state[name] = value
    state['layers.0.blocks.0.attn_mask'] = torch.zeros(1)
    return {**state, 'head.weight': torch.ones(5, 64), 'head.bias': torch.ones(5)}


def test_names_and_order_of_the_swin_project(tmp_path):
    file = swin_project_file()
    ours = start(SWIN, tmp_path / 'swin.pth', {'model': file}).model
    assert torch.equal(
        ours.stages[1].blocks[1].ffn.layers[0][0].weight, file['layers.1.blocks.1.mlp.fc1.weight']
    )
    assert torch.equal(
        ours.stages[0].blocks[0].attn.w_msa.relative_position_bias_table,
        file['layers.0.blocks.0.attn.relative_position_bias_table'],
    )
    assert torch.equal(ours.norm3.weight, file['norm.weight'])
    maps = torch.randn(2, 8, 16, 8)
    tokens, grid = ours.stages[0].downsample(maps.flatten(2).mT, (16, 8))
    assert grid == (8, 4)
    # The Swin project takes every second pixel, four times.
    parts = [maps[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    merged = torch.cat(parts, 1).flatten(2).mT
    norm, bias, reduction = (file[f'layers.0.{name}'] for name in PATCH_MERGING)
    torch.testing.assert_close(tokens, F.layer_norm(merged, (32,), norm, bias) @ reduction.T)


def ics_file(grid: tuple[int, int]) -> dict[str, Tensor]:
    """A teacher of TransReID-SSL with ICS, of width 64 and two blocks."""

    def norm(name: str, size: int, batch: bool) -> dict[str, Tensor]:
        found = {f'{name}.weight': torch.rand(size), f'{name}.bias': torch.randn(size)}
        if batch:
            found |= {f'{name}.running_mean': torch.randn(size)}
            found |= {f'{name}.running_var': torch.rand(size) + 0.5}
        return found

    state = {'cls_token': torch.randn(1, 1, 64)}
    state['pos_embed'] = torch.randn(1, 1 + grid[0] * grid[1], 64)
    state['patch_embed.conv.0.weight'] = torch.randn(64, 3, 7, 7) / 12
    for number in (1, 4):
        state |= norm(f'patch_embed.conv.{number}.IN', 32, batch=False)
        state |= norm(f'patch_embed.conv.{number}.BN', 32, batch=True)
    state['patch_embed.conv.3.weight'] = torch.randn(64, 64, 3, 3) / 24
    state['patch_embed.conv.6.weight'] = torch.randn(64, 64, 3, 3) / 24
    state |= norm('patch_embed.conv.7', 64, batch=True)
    state['patch_embed.proj.weight'] = torch.randn(64, 64, 8, 8) / 64
    state['patch_embed.proj.bias'] = torch.randn(64)
    shapes = dict(
        [('attn.qkv', (192, 64)), ('attn.proj', (64, 64)), ('mlp.fc1', (96, 64))],
        **{'mlp.fc2': (64, 96)},
    )
    for block in (0, 1):
        for layer in ('norm1', 'norm2'):
            state |= norm(f'blocks.{block}.{layer}', 64, batch=False)
        for layer, (outputs, inputs) in shapes.items():
            state[f'blocks.{block}.{layer}.weight'] = torch.randn(outputs, inputs) / 8
            state[f'blocks.{block}.{layer}.bias'] = torch.randn(outputs)
    return state | norm('norm', 64, batch=False)


def test_the_convolutional_stem_of_transreid_ssl(tmp_path):
    state = ics_file((4, 2))
    head = {'module.head.mlp.0.weight': torch.ones(3, 3)}
    file = {'student': {}, 'teacher': {**prefixed('module.backbone.', state), **head}}
    ours = start(ICS_VIT, tmp_path / 'ics.pth', file)
    match = match_weights(MODELS.build(ICS_VIT), file['teacher'])
    assert match.share == 1
    assert match.ignored == list(head)
    assert not match.fresh

    images = torch.randn(2, 3, 64, 32)
    x = F.conv2d(images, state['patch_embed.conv.0.weight'], stride=2, padding=3)
    for number in (1, 4):
        names = [f'patch_embed.conv.{number}.{part}' for part in ('IN', 'BN')]
        instance = F.instance_norm(
            x[:, :32], weight=state[f'{names[0]}.weight'], bias=state[f'{names[0]}.bias']
        )
        x = torch.cat([instance, batch_norm(x[:, 32:], state, names[1])], 1).relu()
        x = F.conv2d(x, state[f'patch_embed.conv.{number + 2}.weight'], padding=1)
    x = batch_norm(x, state, 'patch_embed.conv.7').relu()
    weight, bias = state['patch_embed.proj.weight'], state['patch_embed.proj.bias']
    with torch.no_grad():
        found, grid = ours.patch_embed(images)
    assert grid == (4, 2)
    torch.testing.assert_close(
        found, F.conv2d(x, weight, bias, stride=8).flatten(2).mT, atol=1e-4, rtol=1e-4
    )


def batch_norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    parts = (state[f'{name}.{part}'] for part in ('running_mean', 'running_var', 'weight', 'bias'))
    return F.batch_norm(x, *parts)


def test_stems_are_not_mistaken_for_each_other(tmp_path):
    plain = {**ICS_VIT, 'stem': 'patches'}
    with pytest.raises(WeightsError, match='patch_embed'):
        start(plain, tmp_path / 'ics.pth', {'teacher': prefixed('backbone.', ics_file((4, 2)))})
    state = {name: value for name, value in ics_file((4, 2)).items() if '.conv.' not in name}
    state['patch_embed.proj.weight'] = torch.randn(64, 3, 16, 16)
    with pytest.raises(WeightsError, match='patch_embed'):
        start(ICS_VIT, tmp_path / 'plain.pth', state)


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [(dict(patch_stride=13), 'even, got 16 and 13'), (dict(stem='ics'), "got 'ics'")],
    ids=['odd stride', 'no such stem'],
)
def test_wrong_stems(settings, expected):
    with pytest.raises(ValueError, match=expected):
        MODELS.build({**ICS_VIT, **settings})


def test_personvits_teacher_at_overlapping_patches(tmp_path):
    """Positions of 256x128 at stride 16 come to the grid of stride 12; masking is left out."""
    state = ics_file((16, 8))
    state = {name: value for name, value in state.items() if '.conv.' not in name}
    state['patch_embed.proj.weight'] = torch.randn(64, 3, 16, 16)
    student = {name: torch.randn_like(value) for name, value in state.items()}
    file = dict(
        teacher=prefixed('backbone.', {**state, 'masked_embed': torch.ones(1, 64)}),
        student=prefixed('module.backbone.', student),
        ibot_loss={'center': torch.zeros(1, 1, 64)},
    )
    overlapping = {**SMALL_VIT, 'patch_stride': 12}
    ours = start(overlapping, tmp_path / 'checkpoint0260.pth', file)
    assert torch.equal(ours.layers[1].attn.qkv.weight, state['blocks.1.attn.qkv.weight'])
    grid = state['pos_embed'][:, 1:].mT.unflatten(2, (16, 8))
    expected = F.interpolate(grid, size=(21, 10), mode='bilinear')
    torch.testing.assert_close(ours.pos_embed[:, 1:], expected.flatten(2).mT)


@pytest.mark.parametrize('key', ['encoder_q', 'encoder_k'])
def test_lupersons_resnet(tmp_path, key):
    """MoCo's encoder is taken unless its slow copy is asked for; ``lup_moco_r50.pth`` is plain."""
    query, copy = (randomize(torchvision.models.resnet18()).state_dict() for _ in range(2))
    resnet = dict(type='ReIDResNet', depth=18)
    encoders = dict(encoder_q=query, encoder_k=copy)
    file = {'module.queue': torch.zeros(128, 16), 'module.queue_ptr': torch.zeros(1)}
    # The copy first: the order of the file must not matter.
    for name in ('encoder_k', 'encoder_q'):
        body = {k: v for k, v in encoders[name].items() if not k.startswith('fc.')}
        body |= {'fc.0.weight': torch.ones(4, 4), 'fc.2.weight': torch.ones(4, 4)}
        file |= prefixed(f'module.{name}.', body)
    options = {} if key == 'encoder_q' else dict(prefix=f'module.{key}')
    content = {'epoch': 199, 'arch': 'resnet50', 'state_dict': file}
    ours = start(resnet, tmp_path / 'moco.pth', content, **options).state_dict()
    plain = {k: v for k, v in encoders[key].items() if not k.startswith('fc.')}
    for name, value in plain.items():
        assert torch.equal(ours[name], value), name
    also = start(resnet, tmp_path / 'lup_moco.pth', plain).state_dict()
    assert all(torch.equal(also[name], value) for name, value in plain.items())


def test_inspect_tells_them_apart():
    found = [
        describe_backbones(state)
        for state in (solider_file(plain_swin())['teacher'], swin_project_file(), ics_file((4, 2)))
    ]
    blocks = 'Swin of 1 + 2 + 1 + 1 blocks, width 8 in the first'
    assert found == [
        [
            (
                "backbone below 'backbone.'",
                f"Swin, mmpretrain names: {blocks}, SOLIDER's semantic layers",
            )
        ],
        [('backbone', f'Swin, names of its project: {blocks}, classifier of 5 classes')],
        [
            (
                'backbone',
                'ViT, timm names: ViT of 2 layers, patches of 16 pixels, convolutional stem (ICS), '
                'width 64, 8 patches (probably 4x2), no camera embedding',
            )
        ],
    ]
