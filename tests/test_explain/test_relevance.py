"""Relevance maps: what they are made of, and that they hold what they promise."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from mmengine.registry import DefaultScope
from small_models import SMALL_CNN, SMALL_T2T, build_random, fusion_model
from torch import Tensor, nn
from torch.nn import functional as F

from fusionreid.errors import ExplainError
from fusionreid.explain import class_relevance, pair_relevance, share_on_person
from fusionreid.explain.activations import record_features
from fusionreid.explain.cam import grad_cam
from fusionreid.explain.deletion import deletion_curve, hide_most_relevant
from fusionreid.explain.integrated_gradients import integrated_gradients
from fusionreid.explain.relevance import METHODS
from fusionreid.explain.similarity import similarity
from fusionreid.models import FusionReID

CNN = dict(SMALL_CNN, depth=18)
ARCH = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=32)
VIT = dict(
    type='ReIDVisionTransformer', arch=ARCH, img_size=(64, 32), patch_stride=12, num_cameras=3
)
SIZE = (64, 32)


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('fusionreid'):
        yield


def images(*size: int, count: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, *(size or SIZE), generator=generator)


def build(cnn: dict | None = CNN, transformer: dict | None = VIT, **neck: Any) -> FusionReID:
    return build_random(fusion_model(cnn, transformer, num_heads=3, **neck))


def adapted(**network: Any) -> dict:
    return dict(type='BackboneAdapter', img_size=SIZE, backbone=network)


def pooled(model: dict) -> dict:
    model['branches']['transformer']['pooling'] = dict(type='GeMPooling')
    return model


def assert_valid(maps: Tensor, size: tuple[int, ...], may_be_zero: bool = True) -> None:
    assert maps.shape == size
    assert maps.dtype == torch.float32
    assert not maps.requires_grad
    assert maps.min() >= 0
    for total in maps.sum((1, 2)).tolist():
        assert total == pytest.approx(1, abs=1e-4) or (may_be_zero and total == 0)


MODELS = {
    'published': fusion_model(CNN, VIT, num_heads=3),
    'deep': fusion_model(CNN, VIT, num_heads=3, num_layers=6, units=('mfu', 'seu'), shared=()),
    'no_htm': fusion_model(CNN, VIT, num_heads=3, num_layers=0),
    'cnn_alone': fusion_model(CNN, None),
    'transformer_alone': fusion_model(None, VIT),
    't2t': fusion_model(CNN, dict(SMALL_T2T, img_size=SIZE), num_heads=3),
    'timm': fusion_model(
        CNN,
        adapted(type='timm', model_name='vit_tiny_patch16_224', embed_dim=24, depth=2, num_heads=3),
        num_heads=3,
    ),
    # Relevance needs no standard attention.
    'beit': fusion_model(CNN, adapted(type='mmpretrain.BEiTViT', arch=ARCH), num_heads=3),
    'swin': pooled(
        fusion_model(
            CNN,
            adapted(
                type='mmpretrain.SwinTransformer',
                arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2]),
            ),
            num_heads=3,
        )
    ),
}


@pytest.mark.parametrize('config', MODELS.values(), ids=MODELS)
@pytest.mark.slow
def test_every_feature_of_every_model_has_maps(config):
    model = build_random(config)
    others = images(seed=1)
    names = [*model.feature_widths]
    for method in METHODS:
        by_class = class_relevance(model, images(), torch.tensor([1, 4]), method=method)
        assert list(by_class) == names
        for maps in by_class.values():
            assert_valid(maps, (2, *SIZE))
        pairs = pair_relevance(model, images(), others, [*names, 'all'], method=method)
        assert list(pairs) == [*names, 'all']
        swapped = pair_relevance(model, others, images(), names, method=method)
        for name in names:
            for maps, same in zip(pairs[name], reversed(swapped[name]), strict=True):
                assert_valid(maps, (2, *SIZE))
                torch.testing.assert_close(maps, same)


@pytest.mark.slow
def test_photos_of_a_pair_may_differ_in_size_and_a_batch_in_nothing():
    model = build().double()
    left, right = images(count=3).double(), images(101, 60, count=3, seed=1).double()
    pairs = pair_relevance(model, left, right)
    one_by_one = pair_relevance(model, left[1:2], right[1:2])
    for name, (first, second) in pairs.items():
        assert_valid(first, (3, *SIZE))
        assert_valid(second, (3, 101, 60))
        alone = one_by_one[name]
        torch.testing.assert_close(first[1:2], alone[0], rtol=1e-4, atol=1e-8)
        torch.testing.assert_close(second[1:2], alone[1], rtol=1e-4, atol=1e-8)


@pytest.mark.slow
def test_a_photo_and_itself_are_a_pair():
    for method in METHODS:
        pairs = pair_relevance(build(), images(), images(), method=method)
        for first, second in pairs.values():
            assert_valid(first, (2, *SIZE), may_be_zero=method == 'gradcam')
            assert torch.equal(first, second)


@pytest.mark.slow
def test_a_class_that_is_not_given_is_the_highest_scored_one():
    model = build()
    with torch.no_grad():
        feature = model(images())['cnn_fused']
        best = model.heads.cnn_fused.classifier(model.heads.cnn_fused(feature)).argmax(1)
    ours = class_relevance(model, images(), features=['cnn_fused'])['cnn_fused']
    assert torch.equal(ours, class_relevance(model, images(), best)['cnn_fused'])
    other = class_relevance(model, images(), (best + 1) % 5, 'cnn_fused')['cnn_fused']
    assert not torch.allclose(ours, other, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['cnn', 'transformer', 'cnn_fused', 'all'])
def test_pixels_add_up_to_what_the_photo_adds_to_its_mean_color(name):
    model = build().double()
    photos, others = images().double(), images(seed=1).double()
    means = photos.mean((2, 3), keepdim=True).expand_as(photos)
    with torch.no_grad():
        references = model(others)

    def score(features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: similarity(model, features, references, name)}

    with torch.no_grad():
        expected = score(model(photos))[name] - score(model(means))[name]
    errors = []
    for steps in (4, 64):
        pixels = integrated_gradients(model, photos, score, steps=steps)[name]
        assert pixels.shape == (2, *SIZE)
        errors.append((pixels.sum((1, 2)) - expected).abs().max() / expected.abs().max())
    assert errors[1] < 0.05
    assert errors[1] < errors[0]


def test_grad_cam_is_its_formula():
    activations, slopes = torch.randn(2, 2, 3, 4, 5).unbind()
    expected = torch.einsum('bc,bchw->bhw', slopes.mean((2, 3)), activations)
    torch.testing.assert_close(grad_cam(activations, slopes), expected)


@pytest.mark.parametrize('branch', ['cnn', 'transformer'])
def test_gradients_are_those_of_finite_differences(branch):
    """A neck that the maps are put into by hand shows the same slope."""
    model = build().double()
    recorded = record_features(model, images(count=1).double())
    weight = torch.randn(24).double()
    maps = {name: map_.detach() for name, map_ in recorded.maps.items()}
    (gradient,) = torch.autograd.grad(
        (recorded.features['cnn_fused'] @ weight).sum(), recorded.maps[branch]
    )
    step = torch.randn_like(maps[branch]) * 1e-5
    with torch.no_grad():
        up, down = (
            (model.neck({**maps, branch: maps[branch] + sign * step})['cnn_fused'] @ weight).sum()
            for sign in (1, -1)
        )
    torch.testing.assert_close((gradient * step).sum(), (up - down) / 2, rtol=1e-4, atol=1e-12)


def test_tokens_of_the_last_attention_are_all_that_a_class_token_reads_of_patches():
    model = build(None, VIT).double()
    recorded = record_features(model, images(count=1).double())
    tokens = recorded.tokens['transformer']
    assert recorded.on_grid('transformer', tokens).shape == (1, 24, 5, 2)
    block = model.branches.transformer.backbone.layers[-1]
    weight = torch.randn(24).double()
    (gradient,) = torch.autograd.grad(
        (recorded.features['transformer'] @ weight).sum(), tokens, retain_graph=True
    )
    assert gradient[:, 1:].abs().max() > 0
    step = torch.randn_like(tokens) * 1e-5
    step[:, 0] = 0

    def score(sign: int) -> Tensor:
        hook = block.attn.register_forward_pre_hook(lambda _, args: (args[0] + sign * step,))
        with torch.no_grad():
            value = (model(images(count=1).double())['transformer'] @ weight).sum()
        hook.remove()
        return value

    slope = (score(1) - score(-1)) / 2
    torch.testing.assert_close((gradient * step).sum(), slope, rtol=1e-4, atol=1e-12)


def fingerprint(model: nn.Module) -> list[Any]:
    return [
        (dict(vars(module)), dict(module._forward_hooks), dict(module._forward_pre_hooks))
        for module in model.modules()
    ] + [(weight.grad, weight.requires_grad) for weight in model.parameters()]


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.slow
def test_the_model_and_the_images_stay_as_they_were(training):
    model = build_random(MODELS['published'] | dict(compile=dict(backend='eager')))
    expected = class_relevance(copy.deepcopy(model), images(), features=['cnn_fused'])
    model.train(training)
    model.branches.cnn.backbone.layer1.train(not training)
    next(model.parameters()).requires_grad_(False)
    state, before = copy.deepcopy(model.state_dict()), fingerprint(model)
    for context in (nullcontext(), torch.no_grad(), torch.inference_mode()):
        with context:
            photos = images()
            found = class_relevance(model, photos, features=['cnn_fused'])
            for method in METHODS:
                pair_relevance(
                    model, photos, images(seed=1), ['cnn_fused'], method, torch.tensor([0, -1])
                )
        assert not photos.requires_grad
        for name, maps in found.items():
            assert torch.equal(maps, expected[name])
    assert fingerprint(model) == before
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_frozen_models_have_maps():
    model = build().requires_grad_(False)
    for maps in class_relevance(model, images()).values():
        assert_valid(maps, (2, *SIZE))
    assert not any(weight.requires_grad for weight in model.parameters())


def test_what_cannot_be_computed_is_named():
    model = build()
    for arguments, message in (
        (dict(features=['fused']), "feature 'fused' is unknown: the model gives"),
        (dict(features=['all']), "no classifier scores 'all'"),
        (
            dict(method='cam'),
            r"method 'cam' is unknown: give one of \['gradcam', 'integrated_gradients'\]",
        ),
        (dict(classes=torch.tensor([0, 5])), 'class 5 is outside the 5 training identities'),
        (dict(classes=torch.tensor([0])), r'got 2 images but classes of shape \(1,\)'),
    ):
        with pytest.raises(ExplainError, match=message):
            class_relevance(model, images(), **arguments)
    with pytest.raises(ExplainError, match='got 2 images and 1 others'):
        pair_relevance(model, images(), images(count=1))
    with pytest.raises(ExplainError, match='no BNNeckHead'):
        class_relevance(build_random(fusion_model(CNN, VIT, None, num_heads=3)), images())
    histogram = dict(branches=dict(color=dict(backbone=dict(type='ColorHistogram'))))
    histogram['branches']['color']['pooling'] = dict(type='GeMPooling')
    for method, message in (
        ('gradcam', "branch 'color' .* has no gradient"),
        ('integrated_gradients', "the score of 'color' has no gradient by the pixels"),
    ):
        with pytest.raises(ExplainError, match=message):
            pair_relevance(FusionReID(**histogram), images(), images(), method=method)
    with pytest.raises(ExplainError, match='steps must be at least 1, got 0'):
        integrated_gradients(model, images(), lambda features: features, steps=0)


@pytest.mark.slow
def test_without_heads_pairs_are_compared_around_zero():
    model = build_random(fusion_model(CNN, VIT, None, num_heads=3))
    for pair in pair_relevance(model, images(), images(seed=1)).values():
        for maps in pair:
            assert_valid(maps, (2, *SIZE))
    with torch.no_grad():
        left, right = model(images()), model(images(seed=1))
    joined = [torch.cat(list(side.values()), 1) for side in (left, right)]
    expected = F.cosine_similarity(*joined)
    torch.testing.assert_close(similarity(model, left, right, 'all'), expected)


# ---- hiding


def test_the_most_relevant_cells_are_hidden_and_no_others():
    photos = images(20, 13)  # the cells at the border are cut
    maps = torch.zeros(2, 20, 13)
    maps[0, 9, 3] = maps[1, 19, 12] = 1.0
    hidden = hide_most_relevant(photos, maps, 1 / 6, cell=8)
    means = photos.mean((2, 3))
    for row, (top, left) in enumerate([(8, 0), (16, 8)]):
        changed = (hidden[row] != photos[row]).any(0)
        expected = torch.zeros(20, 13, dtype=torch.bool)
        expected[top : top + 8, left : left + 8] = True
        assert torch.equal(changed, expected)
        cell = hidden[row, :, top : top + 8, left : left + 8]
        torch.testing.assert_close(cell, means[row, :, None, None].expand_as(cell))
    assert torch.equal(hide_most_relevant(photos, maps, 0.0), photos)
    everything = hide_most_relevant(photos, maps, 1.0)
    torch.testing.assert_close(everything, means[..., None, None].expand_as(photos))
    for bad in (dict(share=1.5), dict(share=-0.1), dict(share=0.5, cell=0)):
        with pytest.raises(ExplainError, match='share must be in'):
            hide_most_relevant(photos, maps, **bad)
    with pytest.raises(ExplainError, match=r'maps of shape \(2, 4, 4\) are not those'):
        hide_most_relevant(photos, maps[:, :4, :4], 0.1)


def test_a_curve_compares_what_is_left_with_the_other_photo():
    model = build()
    photos, others, maps = images(), images(seed=1), torch.rand(2, *SIZE)
    curve = deletion_curve(model, photos, others, maps, 'cnn', shares=[0.0, 0.5])
    assert curve.shape == (2, 2)
    with torch.no_grad():
        references = model(others)
        for column, left in enumerate([photos, hide_most_relevant(photos, maps, 0.5)]):
            expected = similarity(model, model(left), references, 'cnn')
            torch.testing.assert_close(curve[:, column], expected)


def test_share_on_the_person():
    maps = torch.zeros(3, 4, 2)
    maps[0, 1, 1], maps[0, 0, 0] = 3.0, 1.0
    maps[1] = 1.0
    masks = torch.zeros(3, 8, 4)  # of the finer image
    masks[:, 2:4, 2:4] = 1.0
    shares = share_on_person(maps, masks)
    torch.testing.assert_close(shares[:2], torch.tensor([0.75, 1 / 8]))
    assert shares[2].isnan()
    torch.testing.assert_close(shares[1], masks[1].mean())  # a map that does not look
    with pytest.raises(ExplainError, match='must have the shapes'):
        share_on_person(maps[None], masks)
