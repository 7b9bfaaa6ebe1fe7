from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from safetensors.torch import save_file
from small_models import SMALL_CNN, SMALL_T2T, SMALL_VIT, build_random, fusion_model
from torch import Tensor, nn

from fusionreid.checkpoints import Pretrained, match_weights, pretrained
from fusionreid.checkpoints.release import convert_original_state, export_original_state
from fusionreid.errors import WeightsError
from fusionreid.models import build_on_meta
from fusionreid.models.layers.position_embedding import fit_position_embedding
from fusionreid.registry import MODELS

# Our small ViT, as timm builds it for square images.
TIMM_SMALL = dict(img_size=64, embed_dim=64, depth=2, num_heads=1, mlp_ratio=1.5, num_classes=7)


def timm_vit(**settings) -> nn.Module:
    model = timm.models.vision_transformer.VisionTransformer(**{**TIMM_SMALL, **settings})
    for parameter in model.parameters():
        parameter.data.normal_(std=0.1)
    return model.eval()


def start(backbone: dict, path, **options) -> nn.Module:
    """Build and initialize a backbone as the runner does."""
    cfg = dict(type='Pretrained', checkpoint=str(path), **options)
    module = MODELS.build({**backbone, 'init_cfg': cfg})
    module.init_weights()
    return module.eval()


@pytest.fixture
def printed(monkeypatch) -> list[str]:
    """What is logged, whichever stream the process' logger holds."""
    lines: list[str] = []
    monkeypatch.setattr(pretrained, 'print_log', lambda text, *_: lines.extend(text.splitlines()))
    return lines


def save(path, content) -> str:
    torch.save(content, path)
    return str(path)


@pytest.mark.slow
def test_our_vit_is_timms_base_vit():
    theirs = timm.create_model('vit_base_patch16_224', num_classes=1000).eval()
    ours = MODELS.build(dict(type='ReIDVisionTransformer', arch='base', img_size=(224, 224)))
    match = match_weights(ours, theirs.state_dict())
    assert match.ignored == ['head.weight', 'head.bias']
    assert match.share == 1
    ours.load_state_dict(match.loaded, strict=True)
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        tokens = theirs.forward_features(images)
        token, feature_map = ours.eval()(images)
    torch.testing.assert_close(token, tokens[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        feature_map.flatten(2).transpose(1, 2), tokens[:, 1:], atol=1e-5, rtol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize('name', ['resnet18', 'resnet50'])
def test_our_resnet_is_torchvisions(name):
    theirs = torchvision.models.get_model(name).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.8, 1.2)
    ours = MODELS.build(dict(type='ReIDResNet', depth=int(name[6:]), strides=(1, 2, 2, 2)))
    # The files that torchvision distributes are older than this counter.
    state = {
        key: value
        for key, value in theirs.state_dict().items()
        if not key.endswith('num_batches_tracked')
    }
    match = match_weights(ours, state)
    assert match.ignored == ['fc.weight', 'fc.bias']
    assert not match.fresh
    assert match.share == 1
    ours.load_state_dict(match.loaded, strict=False)
    images = torch.randn(1, 3, 128, 64)
    trunk = nn.Sequential(*list(theirs.children())[:-2])
    with torch.no_grad():
        expected, (_, found) = trunk(images), ours.eval()(images)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_positions_are_resized_by_the_releases_rule(tmp_path, printed):
    theirs = timm_vit()
    ours = start(SMALL_VIT, save(tmp_path / 'vit.pth', theirs.state_dict()))
    grid = theirs.pos_embed[:, 1:].transpose(1, 2).reshape(1, 64, 4, 4)
    expected = nn.functional.interpolate(grid, size=(16, 8), mode='bilinear', align_corners=False)
    torch.testing.assert_close(ours.pos_embed[:, 1:], expected.flatten(2).transpose(1, 2))
    torch.testing.assert_close(ours.pos_embed[:, :1], theirs.pos_embed[:, :1])
    # The backbone's own initialization comes before, whatever mmpretrain does in its layers.
    assert torch.equal(ours.layers[1].ffn.layers[0][0].weight, theirs.blocks[1].mlp.fc1.weight)
    assert torch.equal(ours.ln1.bias, theirs.norm.bias)
    assert printed[0].endswith('vit.pth, 100.0% of its parameters found')
    rows = {line.split()[0]: line.split()[1:] for line in printed[1:]}
    assert rows['loaded'][0] == '29'
    assert rows['resized'] == ['1', '8,256', 'pos_embed', '4x4', '->', '16x8']
    assert rows['fresh'] == ['1', '192', 'sie.weight']
    assert rows['ignored'] == ['2', 'head.weight,', 'head.bias']


def assert_starts_from(ours: nn.Module, state: dict[str, Tensor]) -> None:
    """Check a small ViT of ours against a state dict of timm."""
    assert torch.equal(ours.cls_token, state['cls_token'])
    assert torch.equal(ours.patch_embed.projection.weight, state['patch_embed.proj.weight'])
    for row in range(2):
        assert torch.equal(ours.layers[row].attn.qkv.weight, state[f'blocks.{row}.attn.qkv.weight'])
    expected = fit_position_embedding(state['pos_embed'], (16, 8), (16, 8))
    torch.testing.assert_close(ours.pos_embed, expected)


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state, other: state,
        lambda state, other: {'model': state},
        lambda state, other: {'state_dict': prefixed('module.', state), 'epoch': 3},
        lambda state, other: {
            'student': prefixed('module.backbone.', other),
            'teacher': {**prefixed('backbone.', state), 'head.mlp.0.weight': torch.ones(3, 3)},
            'epoch': 99,
        },
        lambda state, other: {'state_dict': prefixed('transformer.base.', state)},
    ],
    ids=['plain', 'deit', 'ddp', 'dino', 'release'],
)
def test_vit_dictionaries_of_other_projects(tmp_path, wrap):
    state, other = timm_vit().state_dict(), timm_vit().state_dict()
    ours = start(SMALL_VIT, save(tmp_path / 'vit.pth', wrap(state, other)))
    assert_starts_from(ours, state)


def test_the_distillation_token_is_dropped(tmp_path):
    theirs = timm.models.deit.VisionTransformerDistilled(**TIMM_SMALL)
    theirs.pos_embed.data.normal_()
    state = theirs.state_dict()
    assert state['pos_embed'].shape[1] == 2 + 16
    ours = start(SMALL_VIT, save(tmp_path / 'deit.pth', {'model': state}))
    state['pos_embed'] = state['pos_embed'][:, [0, *range(2, 18)]]
    assert_starts_from(ours, state)


def test_part_tokens_are_dropped_and_the_class_position_is_joined(tmp_path):
    state = timm_vit().state_dict()
    extra = {f'part_token{part}': torch.ones(1, 1, 64) for part in (1, 2, 3)}
    extra |= {f'part{part}_pos': torch.ones(1, 1, 64) for part in (1, 2, 3)}
    extra['cls_pos'] = state['pos_embed'][:, :1]
    file = {**state, **extra, 'pos_embed': state['pos_embed'][:, 1:]}
    ours = start(SMALL_VIT, save(tmp_path / 'pass.pth', {'teacher': prefixed('backbone.', file)}))
    assert_starts_from(ours, state)


def test_positions_of_person_images_keep_their_own_grid(tmp_path):
    state = timm_vit(img_size=(256, 128)).state_dict()
    path = save(tmp_path / 'person.pth', state)
    assert torch.equal(start(SMALL_VIT, path).pos_embed, state['pos_embed'])
    overlapping = start({**SMALL_VIT, 'patch_stride': 12}, path)
    grid = state['pos_embed'][:, 1:].transpose(1, 2).reshape(1, 64, 16, 8)
    expected = nn.functional.interpolate(grid, size=(21, 10), mode='bilinear')
    torch.testing.assert_close(overlapping.pos_embed[:, 1:], expected.flatten(2).mT)


@pytest.mark.slow
@pytest.mark.parametrize('kind', [SMALL_CNN, SMALL_VIT, SMALL_T2T], ids=['cnn', 'vit', 't2t'])
def test_t2t_mmpretrain_and_our_own_names(kind, tmp_path):
    branch = 'cnn' if kind is SMALL_CNN else 'transformer'
    model = fusion_model(**{branch: kind})
    trained = build_random(model)
    own = trained.branches[branch].backbone.state_dict()
    released = export_original_state(trained.state_dict())
    base = f'{"resnet" if branch == "cnn" else "transformer"}.base.'
    official = {
        name.removeprefix(base): value for name, value in released.items() if name.startswith(base)
    }
    files = dict(
        official={'state_dict_ema': official},
        mmpretrain={'meta': {}, 'state_dict': prefixed('backbone.', own)},
        ours={'meta': {}, 'state_dict': trained.state_dict()},
    )
    for name, content in files.items():
        found = start(kind, save(tmp_path / f'{name}.pth', content)).state_dict()
        for key, value in own.items():
            assert torch.equal(found[key], value) == (key != 'sie.weight'), (name, key)


def test_a_whole_model_starts_from_another_but_for_cameras_and_heads(tmp_path):
    trained = build_random(fusion_model(num_classes=9))
    model = fusion_model(transformer={**SMALL_VIT, 'num_cameras': 7})
    path = save(tmp_path / 'trained.pth', {'state_dict': trained.state_dict()})
    found = start(model, path).state_dict()
    for name, value in trained.state_dict().items():
        if not name.startswith('heads.') and not name.endswith('sie.weight'):
            assert torch.equal(found[name], value), name
    assert found['heads.cnn.classifier.weight'].shape == (5, 256)


def test_safetensors(tmp_path):
    state = timm_vit().state_dict()
    save_file(state, tmp_path / 'vit.safetensors')
    assert_starts_from(start(SMALL_VIT, tmp_path / 'vit.safetensors'), state)


@pytest.mark.parametrize(
    'network', ['vit_tiny_patch16_224', 'convnext_atto', 'swin_tiny_patch4_window7_224']
)
@pytest.mark.slow
def test_adapted_networks_start_from_timms_files(network, tmp_path):
    theirs = timm.create_model(network)
    adapter = dict(type='BackboneAdapter', backbone=dict(type='timm', model_name=network))
    found = start(adapter, save(tmp_path / 'timm.pth', theirs.state_dict())).model.state_dict()
    same = [
        name
        for name, value in theirs.state_dict().items()
        if name in found and torch.equal(found[name], value)
    ]
    assert len(same) > 0.95 * len(found)


def test_it_is_what_a_config_gets(tmp_path):
    state = timm_vit().state_dict()
    path = save(tmp_path / 'vit.pth', state)
    cfg = Config(dict(model=fusion_model()))
    prefix = 'model.branches.transformer.backbone.init_cfg'
    cfg.merge_from_dict({f'{prefix}.type': 'Pretrained', f'{prefix}.checkpoint': path})
    model = MODELS.build(cfg.model)
    model.init_weights()
    assert_starts_from(model.branches.transformer.backbone, state)


SMALL_STATE = timm_vit().state_dict()
MORE = {
    'blocks.2.attn.qkv.weight': torch.ones(1),
    'patch_embed.conv.0.weight': torch.ones(1),
    'blocks.0.ls1.gamma': torch.ones(1),
    'norm_pre.weight': torch.ones(1),  # CLIP
    'reg_token': torch.ones(1),  # DINOv2
}


@pytest.mark.parametrize('name', MORE)
def test_more_than_the_backbone_has_is_another_network(name, tmp_path):
    path = save(tmp_path / 'other.pth', {**SMALL_STATE, name: MORE[name]})
    with pytest.raises(WeightsError, match=f'another network than .*: {name} has no place'):
        start(SMALL_VIT, path)


def test_values_that_are_not_finite_are_refused(tmp_path):
    state = {name: value.clone() for name, value in SMALL_STATE.items()}
    state['blocks.1.mlp.fc1.weight'][3, 5] = torch.nan
    path = save(tmp_path / 'nan.pth', state)
    with pytest.raises(WeightsError, match=r'nan.pth: blocks.1.mlp.fc1.weight holds a NaN'):
        start(SMALL_VIT, path)


def test_a_batch_norm_needs_its_statistics(tmp_path):
    resnet = dict(type='ReIDResNet', depth=18)
    state = torchvision.models.resnet18().state_dict()
    gone = [name for name in state if not name.endswith(('running_mean', 'running_var'))]
    path = save(tmp_path / 'r18.pth', {name: state[name] for name in gone})
    with pytest.raises(WeightsError, match='another network than .*: bn1.running_mean is missing'):
        start(resnet, path)


def test_another_shape_is_another_network(tmp_path):
    state = {**SMALL_STATE, 'patch_embed.proj.weight': torch.ones(64, 3, 8, 8)}
    with pytest.raises(
        WeightsError, match=r'proj.weight is \[64, 3, 8, 8\] instead of \[64, 3, 16'
    ):
        start(SMALL_VIT, save(tmp_path / 'other.pth', state))


def test_performer_tokens_do_not_pass_for_transformer_tokens():
    module = MODELS.build(SMALL_T2T)
    tokens = 'tokens_to_token.attention1.'
    state = {
        name.removeprefix('transformer.base.'): value
        for name, value in export_original_state(
            {f'branches.transformer.backbone.{k}': v for k, v in module.state_dict().items()}
        ).items()
    }
    state = {name.removeprefix('base.'): value for name, value in state.items()}
    match = match_weights(module, state)
    assert match.share == 1
    assert not match.misfits
    performer = {name: value for name, value in state.items() if not name.startswith(tokens)}
    performer[f'{tokens}kqv.weight'] = torch.ones(1)
    assert match_weights(module, performer).misfits == [f'{tokens}kqv.weight has no place']


def test_a_tenth_may_be_missing(tmp_path, printed):
    state = {name: value for name, value in SMALL_STATE.items() if not name.startswith('norm.')}
    ours = start(SMALL_VIT, save(tmp_path / 'part.pth', state))
    assert_starts_from(ours, state)
    assert 'ln1.weight, ln1.bias, sie.weight' in '\n'.join(printed)


@pytest.mark.parametrize('gone', ['blocks.', 'blocks.1.', 'blocks.0.mlp.'])
def test_less_than_ninety_percent_is_an_error(gone, tmp_path):
    state = {name: value for name, value in SMALL_STATE.items() if not name.startswith(gone)}
    path = save(tmp_path / 'part.pth', state)
    with pytest.raises(WeightsError) as error:
        start(SMALL_VIT, path)
    text = str(error.value)
    assert f'at least 90% are needed; missing: {gone}' in text
    assert '\n' not in text
    assert path in text
    assert 'ReIDVisionTransformer' in text


def test_another_architecture_is_named(tmp_path):
    path = save(tmp_path / 'vit.pth', SMALL_STATE)
    with pytest.raises(
        WeightsError, match=r'only 0.0% .* ReIDResNet .*missing: conv1.weight.*has: cls_token'
    ):
        start(SMALL_CNN, path)
    deeper = build_on_meta(dict(type='ReIDResNet', depth=101)).state_dict()
    match = match_weights(build_on_meta(dict(type='ReIDResNet', depth=50)), deeper)
    assert match.share == 1
    assert 'layer3.6.conv1.weight has no place' in match.misfits


def test_positions_without_a_class_token_are_refused():
    state = {**SMALL_STATE, 'pos_embed': torch.ones(1, 14, 64)}
    with pytest.raises(WeightsError, match='14 positions: expected a class token and a grid'):
        match_weights(MODELS.build(SMALL_VIT), state)


def test_a_prefix_chooses_between_copies(tmp_path):
    first, second = timm_vit().state_dict(), timm_vit().state_dict()
    path = save(tmp_path / 'two.pth', {**prefixed('query.', first), **prefixed('key.', second)})
    with pytest.raises(WeightsError, match=r"fit equally well: 'key.', 'query.'; choose one"):
        start(SMALL_VIT, path)
    assert_starts_from(start(SMALL_VIT, path, prefix='key'), second)
    assert_starts_from(start(SMALL_VIT, path, prefix='query.'), first)
    with pytest.raises(WeightsError, match='missing: no.cls_token'):
        start(SMALL_VIT, path, prefix='no.')


def test_errors_name_the_file_once(tmp_path):
    path = save(tmp_path / 'list.pth', [1, 2])
    with pytest.raises(WeightsError) as error:
        Pretrained(path)(nn.Linear(1, 1))
    assert str(error.value).count(path) == 1


def test_the_release_converts_the_same_names():
    # What the loader reads from a released file is what the converter makes of it.
    state = export_original_state(build_random(fusion_model()).state_dict())
    converted = convert_original_state(state)
    match = match_weights(MODELS.build(SMALL_VIT), state)
    for name, value in match.loaded.items():
        assert torch.equal(converted[f'branches.transformer.backbone.{name}'], value)


@pytest.mark.parametrize(
    'network',
    [
        dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8),
        dict(
            type='mmpretrain.VisionTransformer',
            img_size=64,
            arch=dict(embed_dims=24, num_layers=1, num_heads=3, feedforward_channels=48),
        ),
        fusion_model(num_classes=None),
    ],
    ids=['ResNet', 'VisionTransformer', 'FusionReID'],
)
def test_nothing_is_initialized_anew_under_the_name_with_the_scope(network, tmp_path):
    """MMEngine and mmpretrain's networks know 'Pretrained' alone as weights of a file."""
    source = MODELS.build(network).state_dict()
    for value in source.values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    path = save(tmp_path / 'weights.pth', source)
    cfg = dict(type='fusionreid.Pretrained', checkpoint=path)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        module = ROOT_MODELS.build({**network, '_scope_': 'fusionreid', 'init_cfg': cfg})
        module.init_weights()
    for name, value in module.state_dict().items():
        if not pretrained.ALWAYS_FRESH.fullmatch(name):
            assert torch.equal(value, source[name]), name
