"""What only makes the model faster, against the layers as they are written down."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from mmpretrain.models.losses import LabelSmoothLoss
from small_models import SMALL_CNN, SMALL_T2T, SMALL_VIT, build_random, fusion_model
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from fusionreid.models import IDLoss, plain_computation
from fusionreid.models.layers.activation_checkpointing import run_checkpointed
from fusionreid.models.layers.attention import CrossAttention, folded_attention
from fusionreid.models.necks import HeterogenousTransmissionModule, LocalRefinementUnit
from fusionreid.models.plain_computation import explicit_attention
from fusionreid.structures import ReIDDataSample

UNITS = [('seu', 'mfu'), ('seu',), ('mfu',), ('mfu', 'seu')]
SHARED = [(), ('seu',), ('mfu',), ('seu', 'mfu')]
LENGTHS = [(8, 15), (8, 8), (3, 7, 5), (4, 4, 4)]


def samples(count: int) -> list[ReIDDataSample]:
    return [
        ReIDDataSample(metainfo=dict(camera_id=row % 3, person_id=row // 2)) for row in range(count)
    ]


def run_htm(
    htm: nn.Module, lengths: tuple[int, ...], dtype: torch.dtype, plain: bool
) -> list[Tensor]:
    """Outputs, gradients of the inputs and of all weights."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    names = [f'branch{index}' for index in range(len(lengths))]
    summaries = {name: draw(2, 1, 24).requires_grad_() for name in names}
    patches = {
        name: draw(2, length, 24).requires_grad_()
        for name, length in zip(names, lengths, strict=True)
    }
    htm.zero_grad()
    with plain_computation(htm) if plain else nullcontext():
        outputs = htm(summaries, patches)
        sum((output * draw(2, 1, 24)).sum() for output in outputs.values()).backward()
    inputs = [*summaries.values(), *patches.values()]
    assert all(tensor.grad is not None for tensor in [*inputs, *htm.parameters()])
    return [*outputs.values(), *(tensor.grad.clone() for tensor in [*inputs, *htm.parameters()])]


def build_htm(lengths: tuple[int, ...], units=('seu', 'mfu'), shared=('seu',)) -> nn.Module:
    names = [f'branch{index}' for index in range(len(lengths))]
    htm = HeterogenousTransmissionModule(names, 24, 3, units=units, shared=shared)
    for weight in htm.parameters():
        nn.init.normal_(weight, std=0.3)
    return htm


@pytest.mark.parametrize('units', UNITS)
@pytest.mark.parametrize('shared', SHARED)
@pytest.mark.parametrize('lengths', LENGTHS)
def test_htm_equals_its_plain_form(units, shared, lengths):
    htm = build_htm(lengths, units, shared).double()
    fast = run_htm(htm, lengths, torch.float64, plain=False)
    plain = run_htm(htm, lengths, torch.float64, plain=True)
    for ours, expected in zip(fast, plain, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('lengths', LENGTHS)
def test_htm_equals_its_plain_form_in_single_precision(lengths):
    htm = build_htm(lengths)
    fast = run_htm(htm, lengths, torch.float32, plain=False)
    plain = run_htm(htm, lengths, torch.float32, plain=True)
    for ours, expected in zip(fast, plain, strict=True):
        scale = max(expected.abs().max().item(), 1.0)
        torch.testing.assert_close(ours / scale, expected / scale, rtol=0, atol=1e-6)


@pytest.mark.parametrize('lengths', [(9, 16), (9, 9), (4, 8, 6)])
def test_seu_keeps_sequences_apart(lengths):
    seu = build_htm(lengths).seu.shared.double()
    parts = [torch.randn(2, length, 24).double() for length in lengths]
    tokens = torch.cat(parts, 1)
    together = seu(tokens, lengths).split(lengths, 1)
    summaries = seu.summarize(tokens, lengths).split(1, 1)
    for part, encoded, summary in zip(parts, together, summaries, strict=True):
        torch.testing.assert_close(encoded, seu(part), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(summary, seu(part)[:, :1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('num_queries', [1, 3])
def test_folded_attention_equals_projected_keys_and_values(num_queries):
    key_weight, value_weight = torch.randn(2, 12, 12, dtype=torch.float64)
    queries = torch.randn(2, num_queries, 12, dtype=torch.float64)
    keys, values = torch.randn(2, 2, 7, 12, dtype=torch.float64)
    ours = folded_attention(queries, keys, values, key_weight, value_weight, 3)
    heads = [
        tensor.unflatten(-1, (3, 4)).transpose(1, 2)
        for tensor in (queries, F.linear(keys, key_weight), F.linear(values, value_weight))
    ]
    for attention in (explicit_attention, F.scaled_dot_product_attention):
        expected = attention(*heads).transpose(1, 2).flatten(2)
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def test_folding_loses_no_accuracy_in_bfloat16():
    attention = CrossAttention(96, 6)
    queries, tokens = torch.randn(8, 1, 96), torch.randn(8, 60, 96)
    for weight in attention.parameters():
        if weight.ndim == 2:
            nn.init.normal_(weight, std=0.1)
    exact = copy.deepcopy(attention).double()(queries.double(), tokens.double())

    def error(plain: bool) -> float:
        with (
            torch.autocast('cpu', torch.bfloat16),
            plain_computation(attention) if plain else nullcontext(),
        ):
            return (attention(queries, tokens).double() - exact).norm().item()

    assert error(plain=False) < 1.25 * error(plain=True) < 0.05 * exact.norm().item()


def test_the_mfu_is_a_fraction_of_its_plain_form():
    attention = CrossAttention(768, 12)
    queries, tokens = torch.randn(1, 1, 768), torch.randn(1, 210, 768)

    def flops(plain: bool) -> int:
        with (
            torch.no_grad(),
            plain_computation(attention) if plain else nullcontext(),
            FlopCounterMode(display=False) as counter,
        ):
            attention(queries, tokens)
        return counter.get_total_flops()

    assert flops(plain=True) > 30 * flops(plain=False)


def test_shared_layers_run_once_and_the_last_seu_for_summaries_alone():
    seen = []

    def watch(htm: nn.Module) -> None:
        htm.seu.shared.mlp.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))

    lengths = (8, 15)
    published, last = build_htm(lengths), build_htm(lengths, ('mfu', 'seu'), ('seu',))
    for htm, plain, expected in (
        (published, False, [9 + 16]),
        (published, True, [9, 16]),
        (last, False, [2]),
        (last, True, [9, 16]),
    ):
        seen.clear()
        copied = copy.deepcopy(htm)
        watch(copied)
        run_htm(copied, lengths, torch.float32, plain)
        assert seen == expected


def test_lru_equals_its_convolutions():
    lru = LocalRefinementUnit(10, 8).double()
    feature_map = torch.randn(3, 10, 4, 2, dtype=torch.float64)
    fast = lru(feature_map)
    with plain_computation(lru):
        torch.testing.assert_close(lru(feature_map), fast, rtol=1e-12, atol=1e-12)


def losses_and_gradients(model: nn.Module, plain: bool = False) -> dict[str, Tensor]:
    """Losses, gradients and running statistics of one training step from a fixed seed."""
    model.train().zero_grad()
    dtype = next(model.parameters()).dtype
    images = torch.randn(4, 3, 256, 128, generator=torch.Generator().manual_seed(2)).to(dtype)
    torch.manual_seed(3)
    with plain_computation(model) if plain else nullcontext():
        losses = model(images, samples(4), mode='loss')
        sum(losses.values()).backward()
    result = {name: value.detach() for name, value in losses.items()}
    weights = [item for item in model.named_parameters() if item[1].requires_grad]
    result |= {name: weight.grad for name, weight in weights}
    return result | {name: value.clone() for name, value in model.named_buffers()}


def assert_close(ours: dict[str, Tensor], expected: dict[str, Tensor], rtol: float) -> None:
    assert ours.keys() == expected.keys()
    for name, value in ours.items():
        atol = rtol * max(expected[name].abs().max().item(), 1.0)
        torch.testing.assert_close(value, expected[name], rtol=rtol, atol=atol, msg=name)


@pytest.mark.parametrize('transformer', [SMALL_VIT, SMALL_T2T])
@pytest.mark.slow
def test_the_whole_model_equals_its_plain_form(transformer):
    model = build_random(fusion_model(transformer=dict(**transformer, drop_path_rate=0.5))).double()
    other = copy.deepcopy(model)
    assert_close(losses_and_gradients(model), losses_and_gradients(other, plain=True), 1e-9)


@torch.no_grad()
def test_the_plain_form_returns_everything_to_what_it_was():
    model = build_random(fusion_model() | dict(channels_last=True, compile=dict(backend='eager')))
    state, modules = model.state_dict(), list(model.modules())
    settings = [dict(vars(module)) for module in modules]

    def look_and_fail():
        assert not model.compiled
        assert not model.channels_last
        assert all(value.is_contiguous() for value in model.state_dict().values())
        raise RuntimeError('inside')

    with pytest.raises(RuntimeError, match='inside'), plain_computation(model):
        look_and_fail()
    assert model.compiled
    assert model.channels_last
    for module, before in zip(modules, settings, strict=True):
        assert vars(module) == before
    for name, value in model.state_dict().items():
        assert value.stride() == state[name].stride()
        assert torch.equal(value, state[name])


@pytest.mark.slow
def test_channels_last_changes_the_layout_alone():
    usual = build_random(fusion_model()).double()
    model = build_random(fusion_model() | dict(channels_last=True)).double()
    weight = model.branches.cnn.backbone.layer1[0].conv2.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    model.load_state_dict(usual.state_dict())
    assert weight.is_contiguous(memory_format=torch.channels_last)
    layouts = []
    model.branches.cnn.backbone.layer4.register_forward_hook(
        lambda _, __, output: layouts.append(output)
    )
    assert_close(losses_and_gradients(model), losses_and_gradients(usual), 1e-9)
    assert layouts[0].is_contiguous(memory_format=torch.channels_last)
    assert not layouts[0].is_contiguous()
    assert copy.deepcopy(model).channels_last
    assert list(model.state_dict()) == list(usual.state_dict())


def with_checkpointing(config: dict) -> dict:
    config = copy.deepcopy(config)
    for branch in config['branches'].values():
        branch['backbone']['with_cp'] = True
    config['neck']['with_cp'] = True
    return config


def kept_bytes(model: nn.Module) -> int:
    """Bytes that a training step keeps for its way back, weights aside."""
    kept, weights = {}, {weight.data_ptr() for weight in model.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        losses = model.train()(torch.randn(4, 3, 256, 128), samples(4), mode='loss')
        total = sum(losses.values())
    del total
    return sum(kept.values())


@pytest.mark.slow
@pytest.mark.parametrize('transformer', [SMALL_VIT, SMALL_T2T])
def test_checkpointing_changes_memory_alone(transformer):
    config = fusion_model(
        cnn=dict(**SMALL_CNN, drop_path_rate=0.2),
        transformer=dict(**transformer, drop_path_rate=0.5),
    )
    usual = build_random(config)
    model = build_random(with_checkpointing(config))
    model.load_state_dict(usual.state_dict())
    expected, ours = losses_and_gradients(usual), losses_and_gradients(model)
    for name, value in ours.items():
        assert torch.equal(value, expected[name]), name  # running statistics included
    assert kept_bytes(model) < 0.6 * kept_bytes(usual)
    assert model.branches.cnn.backbone.layer1[0].norm1.momentum == 0.1


@pytest.mark.parametrize('momentum', [0.1, None])
@pytest.mark.parametrize('convert', [nn.Identity(), nn.SyncBatchNorm.convert_sync_batchnorm])
def test_checkpointed_batch_norms_count_once(convert, momentum):
    block = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, momentum=momentum), nn.ReLU())
    block = convert(block)
    usual = copy.deepcopy(block)
    images = torch.randn(2, 3, 4, 4)
    for _ in range(2):
        run_checkpointed(block, images).square().sum().backward()
        usual(images).square().sum().backward()
    assert block[1].num_batches_tracked == 2
    assert block[1].momentum == momentum
    for name, value in usual.state_dict().items():
        assert torch.equal(block.state_dict()[name], value), name
    for weight, expected in zip(block.parameters(), usual.parameters(), strict=True):
        assert torch.equal(weight.grad, expected.grad)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.slow
def test_losses_and_pooling_are_in_single_precision_under_autocast(dtype):
    model = build_random(fusion_model()).train()
    seen = {}
    for name, head in model.heads.items():
        head.loss_id.register_forward_pre_hook(
            lambda _, args, name=name: seen.update({f'{name}.id': args[0].dtype})
        )
        head.loss_triplet.register_forward_pre_hook(
            lambda _, args, name=name: seen.update({f'{name}.triplet': args[0].dtype})
        )
    with torch.autocast('cpu', dtype):
        losses = model(torch.randn(4, 3, 256, 128), samples(4), mode='loss')
        squares = []
        map_ = torch.full((1, 2, 3, 3), 60.0, dtype=dtype)
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: squares.append(tensor.dtype) or tensor, lambda tensor: tensor
        ):
            pooled = model.branches.cnn.pooling(map_.requires_grad_())
    assert len(seen) == 12
    assert set(seen.values()) == {torch.float32}
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert all(value.isfinite() for value in losses.values())
    assert pooled.dtype == dtype
    assert set(squares) == {torch.float32}
    sum(losses.values()).backward()
    assert all(
        weight.grad.isfinite().all() for weight in model.parameters() if weight.requires_grad
    )


def test_id_loss_equals_mmpretrains():
    scores, ids = torch.randn(6, 5, dtype=torch.float64), torch.tensor([0, 4, 2, 2, 1, 3])
    for smoothing in (0.0, 0.1, 0.5):
        expected = LabelSmoothLoss(label_smooth_val=smoothing)(scores, ids)
        torch.testing.assert_close(IDLoss(smoothing, 2.0)(scores, ids), 2 * expected)
    with pytest.raises(ValueError, match='got 1.0'):
        IDLoss(1.0)
