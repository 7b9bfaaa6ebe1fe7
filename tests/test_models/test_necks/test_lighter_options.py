"""Options that make the fusion lighter, against naive forms of the same computation."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from small_models import FEATURES
from torch import Tensor, nn
from torch.nn import functional as F

from fusionreid.checkpoints.mismatch import describe_mismatch
from fusionreid.models import plain_computation
from fusionreid.models.layers.attention import SelfAttention
from fusionreid.models.layers.low_rank import LowRankLinear
from fusionreid.models.necks import DualAttentionMutualFusion, SharedEncodingUnit

WIDTHS = dict(cnn=10, transformer=6)
MAPS = dict(cnn=torch.rand(3, 10, 4, 2), transformer=torch.rand(3, 6, 5, 3))
SHARED = [(), ('seu',), ('mfu',), ('seu', 'mfu')]
SEPARATE: dict[str, dict[str, Any]] = {
    'patch_mlp': dict(patch_mlp=False),
    'encode_once': dict(encode_once=True),
    'patch_pooling': dict(patch_pooling=2),
    'patch_pooling_3': dict(patch_pooling=3),
    'share_layers': dict(share_layers=True),
    'num_latents': dict(num_latents=2),
    'rank': dict(rank=3),
    'inner_dims': dict(inner_dims=6),
}
OPTIONS = {
    **SEPARATE,
    'pooled_once': dict(patch_pooling=2, encode_once=True),
    'all': dict(
        patch_mlp=False,
        encode_once=True,
        patch_pooling=2,
        share_layers=True,
        num_latents=2,
        rank=3,
        inner_dims=6,
    ),
}


def build(dtype: torch.dtype = torch.float64, **options: Any) -> DualAttentionMutualFusion:
    """A neck whose attention is far from uniform."""
    torch.manual_seed(0)
    neck = DualAttentionMutualFusion(WIDTHS, 12, 2, 3, **options)
    for name, weight in neck.named_parameters():
        if weight.ndim > 1 and not name.startswith('lru'):
            nn.init.normal_(weight, std=0.3)
    return neck.to(dtype).eval()


def run(neck: nn.Module, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    return neck({name: map_.to(dtype) for name, map_ in MAPS.items()})


def with_gradients(neck: nn.Module) -> dict[str, Tensor]:
    """Features and the gradients of all weights."""
    neck.zero_grad()
    features = run(neck)
    sum(feature.square().sum() for feature in features.values()).backward()
    return {**features, **{name: weight.grad for name, weight in neck.named_parameters()}}


@pytest.mark.parametrize('shared', SHARED)
@pytest.mark.parametrize('options', [*SEPARATE.values(), OPTIONS['all']], ids=[*SEPARATE, 'all'])
def test_shapes_gradients_the_plain_form_and_batches_of_one(options, shared):
    neck = build(shared=shared, **options)
    assert neck.out_channels == dict.fromkeys(FEATURES[2:], 12)
    fast = with_gradients(neck)
    assert {name: fast[name].shape for name in FEATURES[2:]} == dict.fromkeys(FEATURES[2:], (3, 12))
    assert [name for name, value in fast.items() if value is None or not value.any()] == []
    with plain_computation(neck):
        for name, value in with_gradients(neck).items():
            torch.testing.assert_close(value, fast[name], rtol=1e-10, atol=1e-10)
    for name, value in neck({name: map_[:1].double() for name, map_ in MAPS.items()}).items():
        torch.testing.assert_close(value, fast[name][:1], rtol=1e-10, atol=1e-10)
    assert torch.equal(fast['cnn_refined'], run(build(shared=shared))['cnn_refined'])


def test_weights_of_one_option_do_not_fit_another():
    choices = {'published': {}, 'mfu': dict(units=('mfu',)), **SEPARATE}
    states = {name: build(**options).state_dict() for name, options in choices.items()}
    for name, state in states.items():
        for other, given in states.items():
            problems = describe_mismatch(state, given)
            assert bool(problems) == (name != other), (name, other)
            assert '\n' not in problems


def test_the_message_names_the_option():
    pooled, published = build(patch_pooling=2).state_dict(), build().state_dict()
    assert describe_mismatch(published, pooled) == 'patch_pooling_2 is left over'
    assert describe_mismatch(pooled, published) == 'patch_pooling_2 is missing'


def test_training_recomputes_activations_with_the_same_gradients():
    neck = build(**OPTIONS['all']).train()
    usual = with_gradients(copy.deepcopy(neck))
    neck.with_cp = True
    for name, value in with_gradients(neck).items():
        assert torch.equal(value, usual[name]), name


# ---- each option against a naive form


@pytest.mark.parametrize('lengths', [(9, 16), (4, 4, 4)])
def test_an_seu_without_patch_mlp_changes_patches_by_attention_alone(lengths):
    seu = SharedEncodingUnit(12, 3, 4, patch_mlp=False).double()
    tokens = torch.randn(2, sum(lengths), 12, dtype=torch.float64)
    encoded = seu(tokens, lengths).split(lengths, 1)
    summaries = seu.summarize(tokens, lengths).split(1, 1)
    for part, ours, summary in zip(tokens.split(lengths, 1), encoded, summaries, strict=True):
        expected = part + seu.attn(seu.norm1(part))
        first = expected[:, :1] + seu.mlp(seu.norm2(expected[:, :1]))
        torch.testing.assert_close(ours[:, :1], seu.norm(first))
        torch.testing.assert_close(ours[:, 1:], seu.norm(expected[:, 1:]))
        torch.testing.assert_close(summary, seu.norm(first))
        torch.testing.assert_close(ours, seu(part))


def test_patches_encoded_once_are_read_by_all_layers():
    neck = build(encode_once=True)
    features = run(neck)
    refined = {name: lru(MAPS[name].double()) for name, lru in neck.lru.items()}
    encoded = {
        name: neck.encoder.of(name)(
            torch.cat((features[f'{name}_refined'][:, None], map_.flatten(2).transpose(1, 2)), 1)
        )
        for name, map_ in refined.items()
    }
    cnn, transformer = (encoded[name][:, :1] for name in WIDTHS)
    for layer in neck.layers:
        cnn, transformer = (
            layer.mfu.of('cnn')(cnn, encoded['transformer'][:, 1:]),
            layer.mfu.of('transformer')(transformer, encoded['cnn'][:, 1:]),
        )
    torch.testing.assert_close(features['cnn_fused'], cnn[:, 0])
    torch.testing.assert_close(features['transformer_fused'], transformer[:, 0])


def test_one_layer_that_encodes_once_is_the_published_layer():
    published = DualAttentionMutualFusion(WIDTHS, 12, 1, 3).eval()
    once = DualAttentionMutualFusion(WIDTHS, 12, 1, 3, encode_once=True).eval()
    once.load_state_dict(
        {
            name.replace('layers.0.seu', 'encoder'): weight
            for name, weight in published.state_dict().items()
        }
    )
    for name, feature in run(once, torch.float32).items():
        assert torch.equal(feature, run(published, torch.float32)[name])


@pytest.mark.parametrize('factor', [2, 3, 7])
@pytest.mark.parametrize('grid', [(21, 10), (5, 3), (1, 4), (1, 1)])
def test_pooled_patches_are_the_means_of_squares_on_any_grid(factor, grid):
    neck = build(patch_pooling=factor)
    feature_map = torch.rand(2, 12, *grid, dtype=torch.float64)
    maps = dict.fromkeys(WIDTHS, feature_map)
    _, patches = neck._tokens(maps, dict.fromkeys(WIDTHS, feature_map.mean((2, 3))))
    squares = [
        rows.mean((2, 3)) for band in feature_map.split(factor, 2) for rows in band.split(factor, 3)
    ]
    torch.testing.assert_close(patches['cnn'], torch.stack(squares, 1))


def test_shared_layers_are_layers_of_equal_weights():
    shared, separate = build(share_layers=True), build()
    assert len(shared.layers) == 1
    for layer in separate.layers:
        layer.load_state_dict(shared.layers[0].state_dict())
    for name, feature in run(shared).items():
        assert torch.equal(feature, run(separate)[name])
    assert sum(p.numel() for p in shared.parameters()) < sum(
        p.numel() for p in separate.parameters()
    )


def test_the_htms_read_latents_that_read_the_patches():
    neck = build(num_latents=2)
    seen: list[dict[str, Tensor]] = []
    for layer in neck.layers:
        layer.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    run(neck)
    patches = neck.lru.cnn(MAPS['cnn'].double()).flatten(2).transpose(1, 2)
    latents = neck.latents.cnn
    reading, tokens = latents.reading, latents.latents.expand(3, -1, -1)
    attention = reading.attn
    heads = [
        each.unflatten(-1, (3, 4)).transpose(1, 2)
        for each in (
            attention.q(reading.norm1(tokens)),
            attention.k(attention.norm(patches)),
            attention.v(patches),
        )
    ]
    attended = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
    tokens = tokens + attention.proj(attended)
    expected = tokens + reading.mlp(reading.norm2(tokens))
    for each in seen:
        torch.testing.assert_close(each['cnn'], expected)
    assert len(seen) == 2


def test_low_rank_layers_are_the_full_ones_of_their_products():
    low, full = build(rank=3), build()
    count = 0
    for name, layer in full.named_modules():
        if isinstance(layer, nn.Linear):
            narrow, wide = low.get_submodule(name)
            layer.weight.data = wide.weight.data @ narrow.weight.data
            if layer.bias is not None:
                layer.bias.data = wide.bias.data
            count += 1
        elif isinstance(layer, nn.LayerNorm | nn.BatchNorm2d | nn.Conv2d):
            layer.load_state_dict(low.get_submodule(name).state_dict())
    assert count == 2 * (4 + 2 * 6)
    for name, feature in run(low).items():
        torch.testing.assert_close(feature, run(full)[name], rtol=1e-9, atol=1e-9)


def test_low_rank_weights_start_as_large_as_full_ones():
    neck = DualAttentionMutualFusion(WIDTHS, 192, 1, 3, rank=64)
    layers = [each for each in neck.modules() if isinstance(each, LowRankLinear)]
    assert len(layers) == 4 + 2 * 6
    for narrow, wide in layers:
        assert (wide.weight @ narrow.weight).std().item() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize('rank', [None, 5])
def test_the_first_token_of_a_low_rank_attention(rank):
    attention = SelfAttention(12, 3, rank).double()
    tokens = torch.randn(2, 13, 12, dtype=torch.float64)
    first = attention.attend_first(tokens, (6, 7)).split(1, 1)
    for part, ours in zip(tokens.split((6, 7), 1), first, strict=True):
        torch.testing.assert_close(ours, attention(part)[:, :1])


def test_narrow_tokens_are_projected_there_and_back():
    neck = build(inner_dims=6)
    seen: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []
    neck.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args))
    neck.layers[1].register_forward_hook(lambda _, __, output: seen.append((output, {})))
    features = run(neck)
    (summaries, patches), (last, _) = seen
    refined = neck.lru.cnn(MAPS['cnn'].double()).flatten(2).transpose(1, 2)
    torch.testing.assert_close(patches['cnn'], neck.narrow.cnn(refined))
    torch.testing.assert_close(summaries['cnn'][:, 0], neck.narrow.cnn(features['cnn_refined']))
    torch.testing.assert_close(features['cnn_fused'], neck.widen.cnn(last['cnn'][:, 0]))


# ---- what makes no sense


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(encode_once=True, units=('mfu',)), r"encode_once=True needs .* got units=\('mfu',\)"),
        (dict(encode_once=True, units=['mfu', 'seu']), "got units=.'mfu', 'seu'."),
        (dict(patch_mlp=False, units=('seu',)), r"patch_mlp=False needs .* got units=\('seu',\)"),
        (dict(patch_pooling=0), 'patch_pooling must be a whole number from 1 on, got 0'),
        (dict(patch_pooling=1.5), 'from 1 on, got 1.5'),
        (dict(patch_pooling=None), 'from 1 on, got None'),
        (dict(num_latents=-1), 'num_latents must be a whole number from 0 on, got -1'),
        (dict(num_latents='8'), "from 0 on, got '8'"),
        (dict(rank=12), 'rank must be a whole number from 1 to 11, .* got 12'),
        (dict(rank=0), 'rank must be a whole number from 1 to 11, .* got 0'),
        (dict(rank=6, inner_dims=6), 'rank must be a whole number from 1 to 5, .* got 6'),
        (dict(inner_dims=12), 'inner_dims must be a whole number from 1 to 11, .* got 12'),
        (dict(inner_dims=True), 'inner_dims must be .* got True'),
        (dict(inner_dims=7), 'inner_dims=7 is not divisible by num_heads=3'),
    ],
)
def test_options_that_make_no_sense_are_named(options, message):
    with pytest.raises(ValueError, match=message) as error:
        build(**options)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('options', OPTIONS.values(), ids=OPTIONS)
def test_without_htms_the_options_add_nothing(options):
    refined = DualAttentionMutualFusion(WIDTHS, 12, 0, 3)
    neck = DualAttentionMutualFusion(WIDTHS, 12, 0, 3, **options)
    assert list(neck.state_dict()) == list(refined.state_dict())
    assert list(neck(MAPS)) == list(FEATURES[2:4])
