from __future__ import annotations

import pytest
import torch
from small_models import FEATURES

from fusionreid.errors import ConfigError
from fusionreid.models import FusionReID
from fusionreid.structures import ReIDDataSample

CNN = dict(
    backbone=dict(type='ReIDResNet', depth=18, base_channels=8, stem_channels=8),
    pooling=dict(type='GeMPooling'),
)
VIT = dict(
    backbone=dict(
        type='ReIDVisionTransformer',
        arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48),
        img_size=(64, 32),
        num_cameras=3,
    )
)
NECK = dict(type='DualAttentionMutualFusion', embed_dims=24, num_layers=2, num_heads=3)
HEAD = dict(type='BNNeckHead', num_classes=4)


def build(**kwargs) -> FusionReID:
    return FusionReID(
        **(dict(branches=dict(cnn=CNN, transformer=VIT), head=HEAD, neck=NECK) | kwargs)
    )


def samples(cameras, persons=None) -> list[ReIDDataSample]:
    persons = persons or [0] * len(cameras)
    return [
        ReIDDataSample(metainfo=dict(camera_id=camera, person_id=person, img_path=f'{row}.jpg'))
        for row, (camera, person) in enumerate(zip(cameras, persons, strict=True))
    ]


def test_six_features_in_order_with_their_widths():
    model = build().eval()
    features = model(torch.randn(2, 3, 64, 32), mode='tensor')
    assert tuple(features) == FEATURES
    assert {name: feature.shape[1] for name, feature in features.items()} == model.feature_widths
    assert model.feature_widths == dict(zip(FEATURES, [64, 24, 24, 24, 24, 24], strict=True))


def test_the_order_of_branches_is_that_which_is_named():
    model = build(branch_order=['transformer'])
    assert list(model.feature_widths) == [
        f'{branch}{stage}'
        for stage in ('', '_refined', '_fused')
        for branch in ('transformer', 'cnn')
    ]
    assert model.state_dict().keys() == build().state_dict().keys()
    with pytest.raises(ConfigError, match="branch_order names 'vit'.*'cnn', 'transformer'"):
        build(branch_order=['vit'])


def test_loss_is_two_terms_per_feature_and_trains_everything():
    model = build()
    losses = model(torch.randn(4, 3, 64, 32), samples([0, 1, 2, -1], [0, 0, 1, 1]), mode='loss')
    assert list(losses) == [
        f'{name}.{key}' for name in FEATURES for key in ('loss_id', 'loss_triplet')
    ]
    sum(losses.values()).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen == [f'heads.{name}.bnneck.bias' for name in FEATURES]


@torch.no_grad()
def test_predict_gives_rows_of_tensor_mode_before_or_after_the_bnneck():
    images, given = torch.randn(3, 3, 64, 32), samples([0, 1, 2])
    model = build().eval()
    for head in model.heads.values():
        head.bnneck.running_mean.normal_()
    features = model(images, given, mode='tensor')
    predicted = model(images, given, mode='predict')
    for row, sample in enumerate(predicted):
        assert tuple(sample.features) == FEATURES
        for name in FEATURES:
            torch.testing.assert_close(sample.features[name], features[name][row])
        assert sample.feature_protocol == 'features before BNNeck, SIE on (3 cameras)'
    model.bnneck = 'after'
    after = model(images, given, mode='predict')[0].features['cnn']
    torch.testing.assert_close(after, model.heads.cnn(features['cnn'])[0])


def test_a_batch_of_one_predicts_and_trains():
    model = build().eval()
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        both = model(images, samples([0, 1]), mode='tensor')
        one = model(images[:1], samples([0]), mode='tensor')
    for name in FEATURES:
        torch.testing.assert_close(one[name], both[name][:1], atol=1e-5, rtol=1e-4)
    losses = model.train()(images[:1], samples([0]), mode='loss')
    assert all(torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()


@pytest.mark.parametrize('name', ['cnn', 'transformer'])
def test_single_branch(name):
    model = FusionReID(
        {'cnn': None, 'transformer': None, name: dict(cnn=CNN, transformer=VIT)[name]}, HEAD
    )
    losses = model(torch.randn(2, 3, 64, 32), samples([0, 1], [0, 1]), mode='loss')
    assert list(losses) == [f'{name}.loss_id', f'{name}.loss_triplet']


def test_three_branches():
    model = build(branches=dict(cnn=CNN, transformer=VIT, other=CNN))
    features = model(torch.randn(2, 3, 64, 32), mode='tensor')
    assert list(features)[:3] == ['cnn', 'transformer', 'other']
    assert len(features) == 9


def test_predict_without_samples_uses_the_unknown_camera():
    model = build().eval()
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        unknown = model(images, mode='predict')[0].features['transformer']
        explicit = model(images, samples([-1, -1]), mode='tensor')['transformer'][0]
    torch.testing.assert_close(unknown, explicit)


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (
            lambda m: m(torch.randn(1, 3, 64, 32), samples([3]), 'tensor'),
            'camera 3 of 0.jpg is outside the 3',
        ),
        (
            lambda m: m(torch.randn(1, 3, 64, 32), samples([0], [4]), 'loss'),
            r'identity 4 of 0.jpg is outside \[0, 4\)',
        ),
        (
            lambda m: m(torch.randn(2, 3, 64, 32), samples([0]), 'tensor'),
            '2 images but 1 data samples',
        ),
        (lambda m: m(torch.randn(1, 3, 64, 32), None, 'loss'), 'needs data samples'),
        (lambda m: m(torch.randn(1, 3, 64, 32), None, 'features'), "got 'features'"),
    ],
)
def test_bad_calls_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(build().eval())


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(branches={}), 'at least one branch'),
        (dict(branches=dict(cnn=None)), 'at least one branch'),
        (dict(bnneck='off'), "got 'off'"),
        (dict(bnneck='after', head=None), 'needs a head'),
        (dict(head=dict(type='BNNeckHead', num_classes=0)), 'got 0'),
    ],
)
def test_bad_configs_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        build(**change)


def test_a_branch_without_token_or_pooling_is_named():
    model = FusionReID(dict(cnn=dict(backbone=CNN['backbone'])))
    with pytest.raises(ValueError, match='ReIDResNet gives no class token'):
        model(torch.randn(1, 3, 64, 32))


def test_a_model_without_heads_extracts_but_does_not_train():
    model = FusionReID(dict(color=dict(backbone=dict(type='ColorHistogram')))).eval()
    assert model(torch.randn(1, 3, 64, 32), mode='predict')[0].features['color'].shape == (6 * 512,)
    assert model.num_classes is None
    with pytest.raises(ValueError, match='no head'):
        model(torch.randn(1, 3, 64, 32), samples([0]), mode='loss')


def test_bnneck_bias_stays_zero_and_features_are_centerd():
    model = build()
    head = model.heads.cnn
    normed = head(torch.randn(64, head.in_channels) * 3 + 5)
    assert not head.bnneck.bias.any()
    torch.testing.assert_close(normed.mean(0), torch.zeros(head.in_channels), atol=1e-5, rtol=0)


def test_bfloat16_autocast_keeps_losses_in_float32():
    with torch.autocast('cpu', torch.bfloat16):
        losses = build()(
            torch.randn(4, 3, 64, 32), samples([0, 1, 2, 0], [0, 0, 1, 1]), mode='loss'
        )
    assert {value.dtype for value in losses.values()} == {torch.float32}
