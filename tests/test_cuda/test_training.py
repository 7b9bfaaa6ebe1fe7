"""Training on a GPU: loss scaling, resuming, processes, CUDA graphs, page-locked batches."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from gpus import DEFAULT, DEVICES, needs_gpu, needs_two_gpus
from mmengine.optim import build_optim_wrapper
from mmengine.registry import FUNCTIONS
from small_models import build_random, fusion_model
from tiny_runs import ROOT, render_tiny, write_tiny_config
from torch import Tensor, nn
from torch.utils.data import DataLoader
from warm_processes import run_ranks

from fusionreid.cli.main import run_command
from fusionreid.registry import MODELS
from fusionreid.structures import ReIDDataSample

CNN = dict(type='ReIDResNet', depth=18, base_channels=8, stem_channels=8)
VIT = dict(
    type='ReIDVisionTransformer',
    arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48),
    img_size=(64, 32),
    num_cameras=3,
)


@pytest.fixture(scope='module')
def tiny(tmp_path_factory) -> Path:
    """Config of a training of two epochs."""
    folder = tmp_path_factory.mktemp('tiny')
    return write_tiny_config(folder, render_tiny(folder / 'data'), 'r18_synthetic')


def samples(count: int) -> list[ReIDDataSample]:
    return [
        ReIDDataSample(metainfo=dict(camera_id=row % 3, person_id=row // 2)) for row in range(count)
    ]


def losses_of(model: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    images = torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(seed))
    device = next(model.parameters()).device
    return model(images.to(device), samples(4), mode='loss')


@needs_gpu
def test_a_step_that_overflows_is_skipped():
    model = build_random(fusion_model(CNN, None)).cuda().train()
    # A larger scale might overflow by itself.
    scaling = dict(dtype='float16', loss_scale=dict(init_scale=128.0))
    wrapper = dict(type='ReIDAmpOptimWrapper', optimizer=dict(type='SGD', lr=0.01), **scaling)
    optimizer = build_optim_wrapper(model, wrapper)
    weight = next(model.parameters())
    scales, changed = [], []
    for factor in (1.0, float('inf'), 1.0):
        before = weight.detach().clone()
        with optimizer.optim_context(model):
            loss = sum(losses_of(model).values())
        optimizer.update_params(loss * factor)
        scales.append(optimizer.loss_scaler.get_scale())
        changed.append(not torch.equal(before, weight))
    assert changed == [True, False, True]
    assert scales[1] == scales[0] / 2
    assert weight.isfinite().all()


def read(folder: Path, epoch: int) -> dict[str, Any]:
    return torch.load(folder / f'epoch_{epoch}.pth', weights_only=True, map_location='cpu')


def distance(left: dict[str, Any], right: dict[str, Any]) -> float:
    pairs = [
        (value.double(), right['state_dict'][name].double())
        for name, value in left['state_dict'].items()
    ]
    return sum((one - other).square().sum().item() for one, other in pairs) ** 0.5


@pytest.mark.slow
def test_a_resumed_training_in_half_precision_ends_as_an_unbroken_one(tiny, tmp_path):
    options = ['--no-validate', '--amp', 'fp16']
    run_command('train', [str(tiny), '--work-dir', str(tmp_path / 'run'), *options])
    first, unbroken = read(tmp_path / 'run', 1), read(tmp_path / 'run', 2)
    (tmp_path / 'resumed').mkdir()
    shutil.copy(tmp_path / 'run' / 'epoch_1.pth', tmp_path / 'resumed')
    run_command('train', [str(tiny), '--work-dir', str(tmp_path / 'resumed'), '--resume', *options])
    resumed = read(tmp_path / 'resumed', 2)
    # Kernels of a GPU add up in another order each time.
    allowed = 0.05 if DEFAULT == 'cuda' else 0.0
    assert distance(resumed, unbroken) <= allowed * distance(unbroken, first)
    assert resumed['optimizer'].get('loss_scaler') == unbroken['optimizer'].get('loss_scaler')
    assert bool(unbroken['optimizer'].get('loss_scaler')) == (DEFAULT == 'cuda')


@needs_gpu  # without one, test_distributed has two processes on gloo
@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, pytest.param(2, marks=needs_two_gpus)])
def test_processes_train_by_nccl_with_batch_norm_over_all_of_them(processes, tiny, tmp_path):
    options = ['--cfg-options', 'sync_bn=torch']
    logs = [tmp_path / f'rank{rank}.txt' for rank in range(processes)]
    command = [ROOT / 'tools' / 'train.py', tiny, '--work-dir', tmp_path / 'run', '--no-validate']
    codes = run_ranks([*command, '--launcher', 'pytorch', *options], logs, timeout=240)
    assert codes == [0] * processes, logs[0].read_text()[-3000:]
    if processes == 1:
        run_command('train', [str(tiny), '--work-dir', str(tmp_path / 'alone'), '--no-validate'])
        alone, first = read(tmp_path / 'alone', 2), read(tmp_path / 'alone', 1)
        assert distance(read(tmp_path / 'run', 2), alone) <= 0.05 * distance(alone, first)


@needs_gpu
@pytest.mark.slow
def test_cuda_graphs_give_the_losses_and_features_of_the_eager_model():
    torch._dynamo.reset()
    eager = build_random(fusion_model(CNN, VIT)).cuda()
    compiled = build_random(fusion_model(CNN, VIT) | dict(compile=dict(mode='reduce-overhead')))
    compiled.cuda().load_state_dict(eager.state_dict())
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
    optimizers = [build_optim_wrapper(model.train(), wrapper) for model in (eager, compiled)]
    # The first steps warm up and record, the others replay.
    for seed in range(5):
        found = []
        for model, optimizer in zip((eager, compiled), optimizers, strict=True):
            losses = losses_of(model, seed)
            found.append({name: value.item() for name, value in losses.items()})
            optimizer.update_params(sum(losses.values()))
        assert found[1] == pytest.approx(found[0], rel=1e-2)
    images = torch.randn(3, 3, 64, 32).cuda()
    with torch.no_grad():
        for _ in range(3):
            ours, theirs = (
                model.eval()(images, samples(3), mode='tensor') for model in (compiled, eager)
            )
            for name, feature in theirs.items():
                torch.testing.assert_close(ours[name].clone(), feature, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize('device', DEVICES)
def test_batches_are_page_locked_for_a_gpu_and_arrive_whole(device):
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (12, 3, 64, 32), dtype=torch.uint8, generator=random)
    data = [
        dict(inputs=image, data_samples=sample)
        for image, sample in zip(images, samples(12), strict=True)
    ]
    collate = FUNCTIONS.get('default_collate')
    options = dict(num_workers=1, prefetch_factor=2, pin_memory=device == 'cuda')
    batches = list(DataLoader(data, batch_size=4, collate_fn=collate, **options))
    assert [batch['inputs'].is_pinned() for batch in batches] == [device == 'cuda'] * 3
    preprocessor = MODELS.build(dict(type='ReIDDataPreprocessor'))
    for batch, expected in zip(batches, images.split(4), strict=True):
        exact = preprocessor.cpu()(dict(batch, inputs=expected), False)['inputs']
        found = preprocessor.to(device)(batch, False)['inputs']
        assert found.device.type == device
        torch.testing.assert_close(found.cpu(), exact, rtol=1e-6, atol=1e-6)
