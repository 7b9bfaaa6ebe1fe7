"""Compilation by a switch of the model: whole graphs, no second compilation, same numbers."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from small_models import build_random, fusion_model
from torch import Tensor, nn

from fusionreid.models import plain_computation
from fusionreid.structures import ReIDDataSample

pytestmark = pytest.mark.slow  # compiles

# As little as has every kind of layer: each one costs seconds of compilation.
CNN = dict(type='ReIDResNet', depth=18, base_channels=8, stem_channels=8)
VIT = dict(
    type='ReIDVisionTransformer',
    arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48),
    img_size=(64, 32),
    num_cameras=3,
    drop_path_rate=0.5,
)
T2T = dict(
    type='ReIDT2TViT',
    img_size=(64, 32),
    embed_dims=24,
    num_layers=2,
    num_heads=3,
    num_cameras=3,
    drop_path_rate=0.5,
)


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def counting(config: dict, backend: str = 'eager') -> tuple[nn.Module, nn.Module, Any]:
    """The usual model and one that is compiled, with equal weights, and the counter of graphs."""
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend(backend)
    usual = build_random(config)
    # fullgraph: whatever would break the graph raises instead.
    model = build_random(config | dict(compile=dict(backend=counter, fullgraph=True)))
    model.load_state_dict(usual.state_dict())
    return usual, model, counter


def samples(count: int) -> list[ReIDDataSample]:
    return [
        ReIDDataSample(metainfo=dict(camera_id=row % 3, person_id=row // 2)) for row in range(count)
    ]


def train_step(model: nn.Module, seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    losses = model.train()(torch.randn(4, 3, 64, 32), samples(4), mode='loss')
    model.zero_grad()
    sum(losses.values()).backward()
    return {name: value.detach() for name, value in losses.items()}


@torch.no_grad()
def extract(model: nn.Module, count: int) -> Tensor:
    images = torch.randn(count, 3, 64, 32, generator=torch.Generator().manual_seed(count))
    predicted = model.eval()(images, samples(count), mode='predict')
    return torch.stack([torch.cat(list(sample.features.values())) for sample in predicted])


@pytest.mark.parametrize('config', [fusion_model(CNN, VIT), fusion_model(None, T2T)])
def test_two_epochs_with_a_short_last_test_batch_compile_two_graphs(config):
    usual, model, counter = counting(config)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for epoch in range(2):
            for step in range(2):
                expected = train_step(usual, 10 * epoch + step)
                for name, value in train_step(model, 10 * epoch + step).items():
                    torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4)
            for count in (5, 5, 2):
                torch.testing.assert_close(
                    extract(model, count), extract(usual, count), rtol=1e-3, atol=1e-3
                )
    assert counter.frame_count == 2
    assert not any('_orig_mod' in name for name in model.state_dict())
    for (name, ours), expected in zip(model.named_parameters(), usual.parameters(), strict=True):
        if expected.requires_grad:
            torch.testing.assert_close(
                ours.grad,
                expected.grad,
                rtol=1e-2,
                atol=1e-3 * expected.grad.abs().max().item(),
                msg=name,
            )


def test_a_single_image_compiles_once_more():
    usual, model, counter = counting(fusion_model(CNN, VIT))
    for count in (3, 1, 4, 1):
        torch.testing.assert_close(
            extract(model, count), extract(usual, count), rtol=1e-3, atol=1e-3
        )
    assert counter.frame_count == 2


def test_the_same_images_may_be_trained_with_and_extracted_from():
    _, model, counter = counting(fusion_model(None, VIT))
    images = torch.randn(4, 3, 64, 32)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(2):
            model.train()(images, samples(4), mode='loss')
            with torch.no_grad():
                model.eval()(images, samples(4), mode='predict')
    assert counter.frame_count == 2


def test_together_with_channels_last_checkpointing_and_bfloat16():
    config = fusion_model(dict(**CNN, with_cp=True), dict(**VIT, with_cp=True), with_cp=True)
    usual, model, counter = counting(config | dict(channels_last=True), 'aot_eager')
    for seed in range(2):
        with torch.autocast('cpu', torch.bfloat16):
            expected, ours = train_step(usual, seed), train_step(model, seed)
        for name, value in ours.items():
            assert value.dtype == torch.float32
            torch.testing.assert_close(value, expected[name], rtol=0.05, atol=0.05)
    assert counter.frame_count == 1
    for name, value in model.named_buffers():
        expected_value = dict(usual.named_buffers())[name]
        torch.testing.assert_close(value, expected_value, rtol=0.05, atol=0.05)


def test_copies_compute_with_their_own_weights():
    _, model, _ = counting(fusion_model(None, VIT))
    average = ExponentialMovingAverage(model, momentum=0.5).module
    before = extract(model, 2)
    with torch.no_grad():
        for weight in average.parameters():
            weight.mul_(1.5)
    assert not torch.allclose(extract(average, 2), before, rtol=0.1)
    torch.testing.assert_close(extract(model, 2), before)
    assert list(copy.deepcopy(model).state_dict()) == list(model.state_dict())


def test_switched_off_nothing_is_compiled():
    _, model, counter = counting(fusion_model(None, VIT))
    with plain_computation(model):
        extract(model, 2)
    model.compiled = False
    train_step(model, 0)
    assert counter.frame_count == 0
    model.compiled = True
    extract(model, 2)
    assert counter.frame_count == 1


@pytest.mark.skipif(not (shutil.which('g++') or shutil.which('clang++')), reason='no C++ compiler')
def test_the_default_backend():
    config = fusion_model(None, VIT)
    usual, model = build_random(config), build_random(config | dict(compile=True))
    model.load_state_dict(usual.state_dict())
    torch.testing.assert_close(extract(model, 2), extract(usual, 2), rtol=1e-3, atol=1e-3)
