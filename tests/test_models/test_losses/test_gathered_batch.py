"""Mining over two processes against one process on the joined batch."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch import distributed, nn
from warm_processes import run_ranks

from fusionreid.models.losses import (
    BatchHardTripletLoss,
    CenterLoss,
    MetricLoss,
    SupConLoss,
    WeightedTripletLoss,
    gather_batches,
)

pytestmark = pytest.mark.slow  # several processes

SIZES = (5, 7)
STEPS = 2
GLOBAL = dict(
    weighted=WeightedTripletLoss(mining='global'),
    contrast=SupConLoss(mining='global'),
    library=MetricLoss('MultiSimilarityLoss', miner='MultiSimilarityMiner', mining='global'),
)


def small_model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).double()


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Joined batches; every identity is on both processes."""
    generator = torch.Generator().manual_seed(5)
    size = sum(SIZES)
    return [
        (torch.randn(size, 6, dtype=torch.float64, generator=generator), torch.arange(size) % 3)
        for _ in range(STEPS)
    ]


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters()]


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2
    )
    own = slice(0, SIZES[0]) if rank == 0 else slice(SIZES[0], None)
    found = {}
    for mining in ('local', 'global'):
        model = MMDistributedDataParallel(small_model(), device_ids=None)
        images, ids = batches()[0]
        loss = BatchHardTripletLoss(mining=mining)(model(images[own]), ids[own])
        loss.backward()
        found[mining] = loss.item(), gradients(model)

    for name, other in GLOBAL.items():
        model = MMDistributedDataParallel(small_model(), device_ids=None)
        loss = other(model(images[own]), ids[own])
        loss.backward()
        found[name] = loss.item(), gradients(model)
    center = CenterLoss(num_classes=3, in_channels=4).double()
    center(model(images[own]), ids[own])
    found['centers'] = center.centers

    # Two batches for one update: only the second one's gradients are exchanged.
    model = MMDistributedDataParallel(small_model(), device_ids=None)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0), accumulative_counts=STEPS)
    for images, ids in batches():
        with wrapper.optim_context(model):
            loss = BatchHardTripletLoss(mining='global')(model(images[own]), ids[own])
        wrapper.update_params(loss)
    found['accumulated'] = [parameter.detach() for parameter in model.parameters()]

    with torch.autocast('cpu', torch.bfloat16):
        half = nn.Linear(6, 4)(images[own].float())
        found['types'] = half.dtype, BatchHardTripletLoss(mining='global')(half, ids[own]).dtype
    torch.save(found, f'{folder}/{rank}.pt')
    distributed.destroy_process_group()


@pytest.fixture(scope='module')
def found(tmp_path_factory) -> list[dict]:
    """What two processes computed."""
    folder: Path = tmp_path_factory.mktemp('gloo')
    logs = [folder / f'printed{rank}.txt' for rank in range(2)]
    codes = run_ranks([__file__, folder], logs)
    assert codes == [0, 0], [log.read_text()[-3000:] for log in logs]
    return [torch.load(folder / f'{rank}.pt') for rank in range(2)]


def joined_losses(model: nn.Module) -> list[torch.Tensor]:
    return [BatchHardTripletLoss()(model(images), ids) for images, ids in batches()]


def test_loss_and_gradient_of_the_joined_batch(found):
    model = small_model()
    loss = joined_losses(model)[0]
    loss.backward()
    for process in found:
        assert process['global'][0] == pytest.approx(loss.item(), rel=1e-10)
        for one, other in zip(process['global'][1], gradients(model), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    # The batches are such that mining makes a difference.
    assert abs(sum(process['local'][0] for process in found) / 2 - loss.item()) > 1e-3


@pytest.mark.parametrize('name', GLOBAL)
def test_other_losses_of_the_joined_batch(name, found):
    model = small_model()
    images, ids = batches()[0]
    loss = GLOBAL[name](model(images), ids)
    loss.backward()
    for process in found:
        assert process[name][0] == pytest.approx(loss.item(), rel=1e-10)
        for one, other in zip(process[name][1], gradients(model), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_centers_move_with_the_images_of_all(found):
    center = CenterLoss(num_classes=3, in_channels=4).double()
    images, ids = batches()[0]
    center(small_model()(images), ids)
    for process in found:
        torch.testing.assert_close(process['centers'], center.centers)


def test_accumulated_batches_give_the_mean_of_their_gradients(found):
    model = small_model()
    torch.stack(joined_losses(model)).mean().backward()
    expected = [parameter - parameter.grad for parameter in model.parameters()]
    for process in found:
        for one, other in zip(process['accumulated'], expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_mixed_precision_mines_in_float32(found):
    assert {process['types'] for process in found} == {(torch.bfloat16, torch.float32)}


def test_one_process_is_its_own_joined_batch():
    features, ids = torch.randn(4, 3), torch.arange(4) // 2
    assert gather_batches(features, ids) == (features, ids)
    with pytest.raises(ValueError, match="'local', 'global'.*got 'all'"):
        BatchHardTripletLoss(mining='all')


if __name__ == '__main__':
    work(int(os.environ['RANK']), sys.argv[1])
