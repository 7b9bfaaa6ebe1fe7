"""The sanity checks of the field, on a model that has learned where to look.

Every image is noise with one colored rectangle somewhere, whose color is the identity. So it is
known which pixels matter.
"""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.registry import DefaultScope
from small_models import fusion_model
from torch import Tensor, nn

from fusionreid.explain import class_relevance, deletion_curve, pair_relevance, share_on_person
from fusionreid.explain.relevance import METHODS
from fusionreid.models import FusionReID
from fusionreid.registry import MODELS
from fusionreid.structures import ReIDDataSample

NUM_IDS, CELL = 8, 8
each_method = pytest.mark.parametrize('method', METHODS)
pytestmark = pytest.mark.slow


def draw(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images (B, 3, 64, 32), their identities, and masks of their rectangles (B, 64, 32)."""
    colors = torch.randn(NUM_IDS, 3, generator=torch.Generator().manual_seed(3)) * 1.5
    generator = torch.Generator().manual_seed(seed)
    ids = torch.arange(count) % NUM_IDS
    images = torch.randn(count, 3, 64, 32, generator=generator) * 0.4
    masks = torch.zeros(count, 64, 32)
    for row in range(count):
        top = CELL * int(torch.randint(8, (1,), generator=generator))
        left = CELL * int(torch.randint(3, (1,), generator=generator))
        rows, columns = slice(top, top + CELL), slice(left, left + 2 * CELL)
        noise = images[row, :, rows, columns]
        images[row, :, rows, columns] = noise / 2 + colors[ids[row], :, None, None]
        masks[row, rows, columns] = 1
    return images, ids, masks


@pytest.fixture(scope='module')
def model() -> FusionReID:
    """A small model, trained until it tells the colors apart."""
    cnn = dict(
        type='ReIDResNet',
        depth=18,
        base_channels=8,
        stem_channels=8,
        strides=(1, 2, 1, 1),
        zero_init_residual=False,
    )
    vit = dict(
        type='ReIDVisionTransformer',
        arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48),
        img_size=(64, 32),
        patch_size=CELL,
        patch_stride=CELL,
    )
    config = fusion_model(cnn, vit, NUM_IDS, num_layers=1, num_heads=3)
    with torch.random.fork_rng(), DefaultScope.overwrite_default_scope('fusionreid'):
        torch.manual_seed(0)
        model = MODELS.build(config).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for step in range(80):
            images, ids, _ = draw(16, seed=step)
            samples = [ReIDDataSample(metainfo=dict(person_id=person)) for person in ids.tolist()]
            losses = model(images, samples, mode='loss')
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
    return model.eval()


@pytest.fixture(scope='module')
def pairs() -> tuple[Tensor, Tensor, Tensor]:
    """Images, others of the same identities row by row, and masks of the first ones."""
    images, _, masks = draw(16, seed=1000)
    return images, draw(16, seed=1001)[0], masks


@pytest.fixture(scope='module')
def relevance(model, pairs) -> dict[str, dict[str, Tensor]]:
    """Maps of the first photos by method and feature."""
    images, others, _ = pairs
    names = [*model.feature_widths, 'all']
    return {
        method: {
            name: first
            for name, (first, _) in pair_relevance(model, images, others, names, method).items()
        }
        for method in METHODS
    }


@each_method
def test_hiding_the_most_relevant_tenth_hurts_more_than_a_random_tenth(
    model, pairs, relevance, method
):
    images, others, _ = pairs
    by_chance = torch.rand(len(images), 64, 32, generator=torch.Generator().manual_seed(0))
    for name, maps in relevance[method].items():
        before, *after = deletion_curve(model, images, others, maps, name, [0, 0.1, 0.3]).mean(0)
        _, *chance = deletion_curve(model, images, others, by_chance, name, [0, 0.1, 0.3]).mean(0)
        for left, left_by_chance in zip(after, chance, strict=True):
            assert before - left > 2 * (before - left_by_chance), name


@each_method
def test_relevance_lies_on_what_tells_identities_apart(model, pairs, relevance, method):
    images, _, masks = pairs
    by_class = class_relevance(model, images, torch.arange(16) % NUM_IDS, None, method)
    for found in (by_class, relevance[method]):
        for name, maps in found.items():
            assert share_on_person(maps, masks).nanmean() > 1.1 * masks.mean(), name


def ranks(maps: Tensor) -> Tensor:
    """Normalized ranks of the cells of each map, (B, cells)."""
    cells = nn.functional.avg_pool2d(maps[:, None], CELL).flatten(1)
    order = cells.argsort(1).argsort(1).float()
    return nn.functional.normalize(order - order.mean(1, keepdim=True))


@each_method
def test_random_weights_destroy_the_map(model, pairs, relevance, method):
    images, others, _ = pairs
    nudged, randomized = copy.deepcopy(model), copy.deepcopy(model)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for weight in nudged.parameters():
            weight.data += 0.01 * weight.data.std(correction=0) * torch.randn_like(weight)
        for weight in randomized.parameters():
            weight.data = weight.data.flatten()[torch.randperm(weight.numel())].view_as(weight)
    same, other = (
        pair_relevance(network, images, others, None, method) for network in (nudged, randomized)
    )
    for name in same:
        maps = ranks(relevance[method][name])
        assert (maps * ranks(same[name][0])).sum(1).mean() > 0.9, name
        assert (maps * ranks(other[name][0])).sum(1).mean() < 0.5, name


def test_integrated_gradients_look_closer_than_grad_cam(pairs, relevance):
    _, _, masks = pairs
    shares = {
        method: torch.stack([share_on_person(each, masks).nanmean() for each in maps.values()])
        for method, maps in relevance.items()
    }
    assert shares['integrated_gradients'].mean() > 1.2 * shares['gradcam'].mean()
