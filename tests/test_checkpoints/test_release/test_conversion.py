from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from small_models import SMALL_CNN, SMALL_T2T, SMALL_VIT, assert_same, build_random, fusion_model

from fusionreid.checkpoints.backbone_architecture import patch_grid
from fusionreid.checkpoints.release import (
    convert_original,
    convert_original_state,
    export_original_state,
)
from fusionreid.checkpoints.release.architecture import infer_size_and_stride
from fusionreid.checkpoints.release.conversion import check_exportable, read_model_config
from fusionreid.cli.benchmarks.golden_values import reference_state
from fusionreid.errors import UnknownWeightsError, WeightsError
from fusionreid.models import build_on_meta
from fusionreid.registry import MODELS

BASE = dict(type='ReIDVisionTransformer', arch='base', num_cameras=15)
DEIT_SMALL = {**BASE, 'arch': 'deit-small', 'patch_stride': 12}
T2T14 = dict(type='ReIDT2TViT', num_cameras=8)
T2T24 = dict(type='ReIDT2TViT', embed_dims=512, num_layers=24, num_heads=8, num_cameras=15)
LARGE = dict(img_size=(384, 128))
PUBLISHED = {
    'r50_vitb12': dict(depth=50, transformer={**BASE, 'patch_stride': 12}),
    'r101_vitb12_384x128': dict(depth=101, transformer={**BASE, 'patch_stride': 12, **LARGE}),
    'r152_vitb16': dict(depth=152, transformer={**BASE, 'patch_stride': 16}),
    'r50_vitb16_384x128_d384': dict(
        depth=50, transformer={**BASE, 'patch_stride': 16, **LARGE}, embed_dims=384
    ),
    'r50_deits_no_sie': dict(depth=50, transformer={**DEIT_SMALL, 'num_cameras': 0}),
    'r101_t2t14': dict(depth=101, transformer=T2T14, embed_dims=1152, num_layers=1),
    'r152_t2t24_384x128': dict(depth=152, transformer={**T2T24, **LARGE}, num_layers=3),
}


@pytest.mark.parametrize('case', PUBLISHED)
@pytest.mark.slow
def test_published_sizes_are_inferred(case):
    given = dict(PUBLISHED[case])
    depth, transformer = given.pop('depth'), given.pop('transformer')
    neck = dict(type='DualAttentionMutualFusion', **given)
    model = fusion_model(dict(type='ReIDResNet', depth=depth, stem='release'), transformer, 1041)
    model['neck'] = neck
    # The meta device has names and shapes without weights.
    state = build_on_meta(model).state_dict()
    conversion = convert_original(export_original_state(state))
    found = conversion.model['branches']['transformer']['backbone']
    assert conversion.model['branches']['cnn']['backbone']['depth'] == depth
    assert conversion.model['head']['num_classes'] == 1041
    assert found['num_cameras'] == transformer['num_cameras']
    assert found['type'] == transformer['type']
    assert found['img_size'] == transformer.get('img_size', (256, 128))
    if found['type'] == 'ReIDT2TViT':
        assert found['num_heads'] == transformer.get('num_heads', 6)
    else:
        assert found['patch_stride'] == transformer['patch_stride']
        assert found['arch']['num_heads'] == (6 if transformer['arch'] == 'deit-small' else 12)
    assert {**conversion.model['neck'], **neck} == conversion.model['neck']
    assert conversion.state_dict.keys() == state.keys()


UNITS = [
    (units, shared)
    for units in (('seu', 'mfu'), ('mfu', 'seu'), ('seu',), ('mfu',))
    for shared in ((), ('seu',), ('mfu',), ('seu', 'mfu'))
    if set(shared) <= set(units)
]


@pytest.mark.slow
@pytest.mark.parametrize(('units', 'shared'), UNITS, ids=str)
def test_all_units_and_sharing_give_the_same_features_there_and_back(units, shared):
    num_layers = 1 + (len(units) + len(shared)) % 3
    ours = build_random(fusion_model(units=units, shared=shared, num_layers=num_layers))
    state = ours.state_dict()
    original = export_original_state(state)
    reordered = units == ('mfu', 'seu')
    conversion = convert_original(original, units=units if reordered else None)
    assert conversion.model['neck']['units'] == units
    assert conversion.model['neck']['shared'] == shared
    assert conversion.model['neck']['num_layers'] == num_layers
    assert_same(conversion.state_dict, state)
    assert_same(export_original_state(conversion.state_dict, conversion.unused), original)
    again = MODELS.build(Config.fromstring(conversion.config_text, '.py').model)
    again.load_state_dict(conversion.state_dict, strict=True)
    images, cameras = torch.randn(2, 3, 256, 128), torch.tensor([0, 2])
    with torch.no_grad():
        expected = ours.extract(images, cameras)
        found = again.eval().extract(images, cameras)
    assert list(found) == list(expected)
    for name, feature in found.items():
        assert feature.isfinite().all()
        torch.testing.assert_close(feature, expected[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    'model',
    [
        fusion_model(transformer=None),
        fusion_model(cnn=None),
        fusion_model(cnn=None, transformer=SMALL_T2T),
        fusion_model(transformer=SMALL_T2T),
        fusion_model(num_layers=0),
        fusion_model(depthwise=False),
        fusion_model(transformer={**SMALL_VIT, 'num_cameras': 0}),
    ],
    ids=['cnn', 'vit', 't2t', 'cnn_t2t', 'no_htm', 'no_depthwise', 'no_sie'],
)
def test_round_trips_are_exact(model):
    state = build_random(model).state_dict()
    original = export_original_state(state)
    conversion = convert_original({f'module.{name}': value for name, value in original.items()})
    assert_same(conversion.state_dict, state)
    assert_same(export_original_state(conversion.state_dict), original)
    if len(model['branches']) == 1:
        assert all(
            name.startswith(('base.', 'gap.', 'bottleneck.', 'classifier.')) for name in original
        )


@pytest.mark.parametrize('variant', ['r50_only', 't2t14_r50_d2_shared_seu'])
@pytest.mark.slow
def test_release_to_us_and_back_is_exact(variant):
    original = reference_state(variant)
    conversion = convert_original(original)
    assert_same(export_original_state(conversion.state_dict, conversion.unused), original)
    imagenet = {name for name in original if '.base.head.' in name}
    without = export_original_state(conversion.state_dict)
    assert without.keys() == original.keys() - imagenet


def small_original(**neck) -> dict[str, torch.Tensor]:
    return export_original_state(build_on_meta(fusion_model(**neck)).state_dict())


def test_a_cnn_alone_has_the_published_size_or_the_one_that_is_said():
    cnn = fusion_model()
    del cnn['branches']['transformer'], cnn['neck']
    state = export_original_state(build_random(cnn).state_dict())
    assert convert_original(state).input_size == (256, 128)
    again = convert_original(state, size=(384, 128))
    assert Config.fromstring(again.config_text, '.py').input_size == (384, 128)


def test_building_leaves_the_default_scope_alone():
    state = small_original()
    with DefaultScope.overwrite_default_scope('mmengine'):
        convert_original(state)
        assert DefaultScope.get_current_instance().scope_name == 'mmengine'


def test_classifiers_that_were_removed_leave_a_model_of_features():
    original = {
        name: value
        for name, value in export_original_state(build_random(fusion_model()).state_dict()).items()
        if 'classifier' not in name
    }
    conversion = convert_original(original)
    assert conversion.model['head'] is None
    assert not any(name.startswith('heads.') for name in conversion.state_dict)
    assert len(conversion.unused) == 30  # five tensors of six BNNecks
    assert_same(export_original_state(conversion.state_dict, conversion.unused), original)


def without(*names: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in small_original().items() if name not in names}


def resized(name: str, *shape: int) -> dict[str, torch.Tensor]:
    return {**small_original(), name: torch.empty(shape)}


@pytest.mark.parametrize(
    ('state', 'options', 'message'),
    [
        (without('classifier_2.weight'), {}, '1 missing: classifier_2.weight'),
        (without('gap_r.p'), {}, '1 missing: gap_r.p'),
        (without('res_LRU.ptconv.weight'), {}, 'res_LRU.ptconv.weight is missing'),
        (without('resnet.base.layer2.1.bn2.bias'), {}, r'1 missing: resnet.base.layer2.1.bn2.bias'),
        (without('transformer.base.blocks.0.attn.qkv.bias'), {}, 'small ViT'),
        (
            resized('classifier_1.weight', 6, 24),
            {},
            r'classifier_1.weight is \[6, 24\] instead of \[5, 24\]',
        ),
        (resized('res_LRU.ptconv.weight', 20, 256, 1, 1), {}, '20 channels'),
        (resized('resnet.base.layer5.0.conv1.weight', 1), {}, '1 left over: resnet.base.layer5.0'),
        (
            resized('HTM.blocks.999999999.SEU.norm.bias', 24),
            {},
            r'HTM.blocks.\* is numbered up to 999999999, but there are 3',
        ),
        (resized('transformer.base.sie_embed', 3, 64), {}, r'sie_embed has shape \[3, 64\]'),
        (resized('HTM.blocks.0.SEU1.norm.bias', 24), {}, 'missing|left over'),
        (small_original(), dict(num_cameras=15), 'of 3 cameras, --num-cameras says 15'),
        (small_original(), dict(stride=12), r'128 patches, but 256x128 at stride 12 has 21x10'),
        (small_original(), dict(size=(64, 64), stride=16), r'64x64 at stride 16 has 4x4 = 16'),
        (small_original(), dict(size=(8, 8), stride=16), r'128 patches'),
        (small_original(units=('mfu',)), dict(units=('seu',)), 'the units mfu, --units says seu'),
        (dict(gap_r=torch.ones(1)), {}, '1 of 1 names are not weights of the released'),
    ],
)
def test_what_does_not_fit_is_named(state, options, message):
    with pytest.raises(WeightsError, match=message):
        convert_original(state, **options)


@pytest.mark.parametrize('unit', ['seu', 'mfu'])
def test_a_unit_that_is_not_used_is_set_aside(unit):
    state = export_original_state(build_random(fusion_model()).state_dict())
    conversion = convert_original(state, units=(unit,))
    alone = convert_original(
        {name: value for name, value in state.items() if name not in conversion.unused}
    )
    assert conversion.model == alone.model
    assert conversion.model['neck']['units'] == (unit,)
    assert conversion.state_dict.keys() == alone.state_dict.keys()
    assert_same(export_original_state(conversion.state_dict, conversion.unused), state)


def test_options_without_a_use_are_refused():
    cnn = export_original_state(build_on_meta(fusion_model(transformer=None)).state_dict())
    t2t = export_original_state(build_on_meta(fusion_model(None, SMALL_T2T)).state_dict())
    with pytest.raises(WeightsError, match='no transformer whose --stride'):
        convert_original(cnn, stride=12)
    with pytest.raises(WeightsError, match='no fusion neck whose --units'):
        convert_original(cnn, units=('seu',))
    with pytest.raises(WeightsError, match='T2T-ViT has no patch stride'):
        convert_original(t2t, stride=12)
    with pytest.raises(WeightsError, match='128 patches, but 64x64 has 16'):
        convert_original(t2t, size=(64, 64))


def test_unknown_names_of_both_sides_are_given():
    with pytest.raises(UnknownWeightsError, match=r'^2 of 3 names are not .*: rpn.a, rpn.b$'):
        convert_original_state({name: torch.ones(1) for name in ('rpn.a', 'rpn.b', 'gap_r.p')})
    with pytest.raises(UnknownWeightsError, match='branches.third.backbone.conv1.weight'):
        export_original_state({'branches.third.backbone.conv1.weight': torch.ones(1)})


@pytest.mark.parametrize('size', [(256, 128), (384, 128), (224, 224), (320, 192)])
@pytest.mark.parametrize('stride', [8, 12, 14, 16])
def test_strides_follow_from_size_and_length(size, stride):
    rows, columns = patch_grid(size, 16, stride)
    assert infer_size_and_stride(rows * columns, 16, size, None) == (size, stride)


def test_settings_that_weights_do_not_show_are_checked_before_an_export():
    model = fusion_model(cnn={**SMALL_CNN, 'stem': 'standard'}, num_heads=3)
    text = Config(dict(model=model, optimizer=dict(lr=0.1))).pretty_text
    assert read_model_config(text) == model
    with pytest.raises(WeightsError, match="stem is 'standard'.*num_heads is 3"):
        check_exportable(read_model_config(text))
    check_exportable(fusion_model())
    check_exportable(convert_original(small_original()).model)


def test_reading_a_stored_config_runs_nothing(tmp_path):
    for text in (
        f"model = open('{tmp_path}/touched', 'w')",
        f"model = dict(branches=open('{tmp_path}/touched', 'w'))",
        'model = [1]',
        'model = dict(branches=dict(cnn=3))',
        'model = dict(',
        '',
    ):
        assert read_model_config(text) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('neck', 'name'),
    [
        (dict(patch_pooling=2), 'neck.patch_pooling_2'),
        (dict(patch_mlp=False), 'neck.patch_mlp_false'),
        (dict(share_layers=True), 'neck.share_layers_2'),
        (dict(encode_once=True), 'neck.encoder'),
        (dict(num_latents=2), 'neck.latents'),
        (dict(rank=3), r'neck.layers.0.seu.shared.attn.qkv.0'),
        (dict(inner_dims=12), 'neck.narrow'),
    ],
)
def test_a_lighter_fusion_has_no_released_form(neck, name):
    state = build_on_meta(fusion_model(dict(SMALL_CNN, depth=18), **neck)).state_dict()
    with pytest.raises(UnknownWeightsError, match=f'does not have: {name}'):
        export_original_state(state)


def test_a_transformer_that_merges_tokens_has_no_released_form():
    model = fusion_model(transformer=dict(SMALL_VIT, keep_ratio=0.5), num_heads=12)
    with pytest.raises(WeightsError, match='transformer: keep_ratio is 0.5, there 1.0'):
        check_exportable(model)
