"""Attention maps of lighter models."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import DefaultScope
from small_models import SMALL_CNN, build_random, fusion_model

from fusionreid.errors import ExplainError
from fusionreid.explain import class_token_attention, fusion_attention
from fusionreid.explain.all_attention import all_attention

VIT = dict(
    type='ReIDVisionTransformer',
    arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=32),
    img_size=(64, 32),
    patch_stride=12,
)
PUBLISHED = [(0, 'seu'), (0, 'mfu'), (1, 'seu'), (1, 'mfu')]
ONCE = [(0, 'seu'), (0, 'mfu'), (1, 'mfu')]


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('fusionreid'):
        yield


def build(keep_ratio: float = 1.0, **neck):
    transformer = dict(VIT, keep_ratio=keep_ratio)
    return build_random(fusion_model(dict(SMALL_CNN, depth=18), transformer, num_heads=3, **neck))


IMAGES = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ('options', 'places', 'grids'),
    [
        (dict(patch_mlp=False), PUBLISHED, ((4, 2), (5, 2))),
        (dict(encode_once=True), ONCE, ((4, 2), (5, 2))),
        (dict(patch_pooling=2), PUBLISHED, ((2, 1), (3, 1))),
        (dict(share_layers=True), PUBLISHED, ((4, 2), (5, 2))),
        (dict(rank=5, inner_dims=12), PUBLISHED, ((4, 2), (5, 2))),
        (dict(patch_pooling=2, encode_once=True, shared=()), ONCE, ((2, 1), (3, 1))),
        (dict(keep_ratio=0.5), PUBLISHED, ((4, 2), (5, 2))),
    ],
)
def test_maps_of_every_unit_that_runs(options, places, grids):
    attentions = fusion_attention(build(**options), IMAGES)
    assert [(each.layer, each.unit, each.branch) for each in attentions] == [
        (*place, branch) for place in places for branch in ('cnn', 'transformer')
    ]
    by_branch = dict(zip(('cnn', 'transformer'), grids, strict=True))
    for attention in attentions:
        ((source, map_),) = attention.maps.items()
        assert (source == attention.branch) == (attention.unit == 'seu')
        assert map_.shape == (2, 3, *by_branch[source])
        total = attention.own + map_.sum((2, 3))
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-5)


def test_what_lies_on_no_grid_says_so():
    with pytest.raises(ExplainError, match='num_latents learned tokens per branch'):
        fusion_attention(build(num_latents=2), IMAGES)
    merging = build(keep_ratio=0.5)
    with pytest.raises(ExplainError, match='merges tokens.* keep_ratio=0.5 to 1'):
        class_token_attention(merging, IMAGES)
    found, refused = all_attention(merging, IMAGES)
    assert {each.unit for each in found} == {'seu', 'mfu'}
    assert len(refused) == 1
