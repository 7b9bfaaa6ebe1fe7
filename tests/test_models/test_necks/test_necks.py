from __future__ import annotations

import pytest
import torch
from small_models import FEATURES

from fusionreid.models.necks import (
    DualAttentionMutualFusion,
    GeMPooling,
    HeterogenousTransmissionModule,
    LocalRefinementUnit,
    MutualFusionUnit,
    SharedEncodingUnit,
    generalized_mean,
)

MAPS = dict(cnn=torch.rand(2, 10, 4, 2), transformer=torch.rand(2, 6, 5, 3))
WIDTHS = dict(cnn=10, transformer=6)


def test_generalized_mean_is_average_at_one_and_maximum_at_infinity():
    feature_map = torch.rand(2, 3, 4, 5) + 0.1
    torch.testing.assert_close(generalized_mean(feature_map, 1.0), feature_map.mean((2, 3)))
    torch.testing.assert_close(
        generalized_mean(feature_map.double(), 400.0).double(),
        feature_map.double().amax((2, 3)),
        atol=0,
        rtol=1e-2,
    )


def test_generalized_mean_against_a_loop():
    feature_map = torch.randn(2, 3, 4, 5)
    for row in range(2):
        for channel in range(3):
            values = [
                max(value, 1e-6) ** 3 for value in feature_map[row, channel].flatten().tolist()
            ]
            expected = (sum(values) / len(values)) ** (1 / 3)
            assert generalized_mean(feature_map, 3.0)[row, channel].item() == pytest.approx(
                expected, rel=1e-5
            )


def test_gem_survives_half_precision():
    feature_map = torch.full((1, 2, 3, 3), 60.0, dtype=torch.float16)  # 60 ** 3 overflows float16
    torch.testing.assert_close(
        GeMPooling()(feature_map), torch.full((1, 2), 60.0, dtype=torch.float16), rtol=1e-2, atol=0
    )


def test_gem_refuses_an_exponent_below_one():
    with pytest.raises(ValueError, match='at least 1, got 0.5'):
        GeMPooling(exponent=0.5)


def test_lru_without_depthwise_is_its_pointwise_half():
    lru = LocalRefinementUnit(10, 8, depthwise=False).eval()
    torch.testing.assert_close(lru(MAPS['cnn']), lru.pointwise(MAPS['cnn']))
    assert (
        sum(p.numel() for p in LocalRefinementUnit(10, 8).parameters())
        - sum(p.numel() for p in lru.parameters())
        == 2 * 10 + 2 * 10 + 1
    )  # depth-wise weight and bias, batch norm, PReLU slope


@pytest.mark.parametrize('units', [('seu', 'mfu'), ('seu',), ('mfu',), ('mfu', 'seu')])
@pytest.mark.parametrize('shared', [(), ('seu',), ('mfu',), ('seu', 'mfu')])
def test_every_composition_and_sharing(units, shared):
    neck = DualAttentionMutualFusion(WIDTHS, 12, 2, 3, units=units, shared=shared)
    features = neck(MAPS)
    assert tuple(features) == FEATURES[2:]
    assert list(features) == list(neck.out_channels)
    assert all(feature.shape == (2, 12) for feature in features.values())
    sum(feature.sum() for feature in features.values()).backward()
    for name, parameter in neck.named_parameters():
        assert parameter.grad is not None, name
    for unit in units:
        owners = list(getattr(neck.layers[0], unit))
        assert owners == (['shared'] if unit in shared else ['cnn', 'transformer'])


def test_units_run_in_the_given_order():
    htm = HeterogenousTransmissionModule(
        ['cnn', 'transformer'], 12, 3, units=('seu', 'mfu'), shared=('seu',)
    )
    summaries = dict(cnn=torch.randn(2, 1, 12), transformer=torch.randn(2, 1, 12))
    patches = dict(cnn=torch.randn(2, 8, 12), transformer=torch.randn(2, 15, 12))
    encoded = {
        name: htm.seu.shared(torch.cat((summaries[name], patches[name]), 1)) for name in patches
    }
    expected = dict(
        cnn=htm.mfu.cnn(encoded['cnn'][:, :1], encoded['transformer'][:, 1:]),
        transformer=htm.mfu.transformer(encoded['transformer'][:, :1], encoded['cnn'][:, 1:]),
    )
    for name, summary in htm(summaries, patches).items():
        torch.testing.assert_close(summary, expected[name])


def test_only_summaries_are_carried_from_layer_to_layer():
    neck = DualAttentionMutualFusion(WIDTHS, 12, 2, 3).eval()
    seen = []
    for layer in neck.layers:
        layer.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    neck(MAPS)
    for name in MAPS:
        assert seen[0][name] is seen[1][name]


@pytest.mark.parametrize('layers', [0, 1, 3])
def test_number_of_layers(layers):
    neck = DualAttentionMutualFusion(WIDTHS, 12, layers, 3)
    features = neck(MAPS)
    assert len(neck.layers) == layers
    assert ('cnn_fused' in features) == (layers > 0)


def test_a_third_branch_is_a_config_change():
    neck = DualAttentionMutualFusion(dict(WIDTHS, pose=4), 12, 1, 3).eval()
    maps = dict(MAPS, pose=torch.rand(2, 4, 2, 2))
    features = neck(maps)
    assert len(features) == 6
    changed = neck(dict(maps, pose=maps['pose'] + 1))
    assert not torch.allclose(features['cnn_fused'], changed['cnn_fused'])  # reads the third branch
    torch.testing.assert_close(features['cnn_refined'], changed['cnn_refined'])


def test_a_batch_of_one_equals_its_row_of_a_larger_batch():
    neck = DualAttentionMutualFusion(WIDTHS, 12, 2, 3).eval()
    whole = neck(MAPS)
    single = neck({name: map_[:1] for name, map_ in MAPS.items()})
    for name in whole:
        torch.testing.assert_close(single[name], whole[name][:1], atol=1e-5, rtol=1e-4)


def test_published_parameter_counts():
    # One SEU shared by both branches and two MFUs at d = 768, from the layers' definition.
    width, hidden = 768, 3072
    norm, mlp = 2 * width, 2 * width * hidden + hidden + width
    seu = 3 * width**2 + width**2 + width + mlp + 3 * norm
    mfu = 4 * width**2 + width + mlp + 3 * norm
    assert sum(p.numel() for p in SharedEncodingUnit(768, 12, 4).parameters()) == seu
    assert sum(p.numel() for p in MutualFusionUnit(768, 12, 4).parameters()) == mfu
    htm = HeterogenousTransmissionModule(['cnn', 'transformer'], 768)
    assert sum(p.numel() for p in htm.parameters()) == seu + 2 * mfu


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(units=('seu', 'seu')), 'without repeats'),
        (dict(units=()), 'without repeats'),
        (dict(units=('abc',)), 'abc'),
        (dict(shared=('lru',)), 'lru'),
        (dict(num_heads=5), 'embed_dims=12 is not divisible by num_heads=5'),
        (dict(num_layers=-1), 'got -1'),
        (dict(in_channels=dict(cnn=10)), 'at least two branches'),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = dict(in_channels=WIDTHS, embed_dims=12, num_layers=1, num_heads=3) | change
    with pytest.raises(ValueError, match=message):
        DualAttentionMutualFusion(**arguments)


@pytest.mark.parametrize(
    ('maps', 'named'),
    [
        (dict(cnn=MAPS['cnn']), "['cnn']"),
        (dict(MAPS, third=MAPS['cnn']), "['cnn', 'transformer', 'third']"),
        (list(MAPS.values()), 'a list'),
    ],
)
def test_maps_of_other_branches_are_refused_by_their_names(maps, named):
    with pytest.raises(KeyError) as error:
        DualAttentionMutualFusion(WIDTHS, 12, 1, 3)(maps)
    message = error.value.args[0]
    assert message == (
        f"the neck was built for branches ['cnn', 'transformer'], got maps of {named}"
    )
