"""Images behind one update: accumulated batches and the learning rate for them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch import nn

from fusionreid.engine.hooks import EpochLengthHook
from fusionreid.engine.optimizers import scale_learning_rate
from fusionreid.errors import ConfigError


def test_the_last_update_of_an_epoch_is_the_mean_of_the_batches_left():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0), accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 6)  # as mmengine counts: 6 in all, 3 updates
    loop = object.__new__(EpochBasedTrainLoop)
    loop._max_epochs, loop._epoch, loop._iter = 2, 0, 0
    weights = []
    for batches in ([1.0, 3.0, 10.0], [5.0, 7.0, 20.0, 40.0]):  # an epoch of 3 and one of 4
        loop.dataloader = batches
        runner = SimpleNamespace(train_loop=loop, optim_wrapper=wrapper, model=model)
        EpochLengthHook().before_train_epoch(runner)
        for gradient in batches:
            with wrapper.optim_context(model):
                loss = -gradient * model(torch.ones(1, 1)).sum()
            wrapper.update_params(loss)
            weights.append(model.weight.item())
            loop._iter += 1
        loop._epoch += 1
    assert weights == [0, 2, 12, 12, 18, 18, 48]


def test_training_by_iteration_keeps_its_length():
    loop = object.__new__(IterBasedTrainLoop)
    loop._max_iters = 60
    EpochLengthHook().before_train_epoch(SimpleNamespace(train_loop=loop))
    assert loop.max_iters == 60


def runner_of(processes: int, batch_size: int, accumulated: int | None, rule: dict | None):
    wrapper = ConfigDict(optimizer=dict(type='SGD', lr=0.008))
    if accumulated:
        wrapper.accumulative_counts = accumulated
    loader = dict(batch_size=batch_size)
    return SimpleNamespace(
        auto_scale_lr=rule,
        optim_wrapper=wrapper,
        world_size=processes,
        _resume=False,
        cfg=ConfigDict(train_dataloader=loader, optim_wrapper=wrapper),
        logger=MMLogger.get_current_instance(),
    )


@pytest.mark.parametrize(
    ('processes', 'batch_size', 'accumulated', 'expected'),
    [
        (1, 128, None, 0.008),
        (4, 128, None, 0.032),
        (4, 32, None, 0.008),
        (1, 64, 2, 0.008),
        (2, 16, 1, 0.002),
    ],
)
def test_the_rate_follows_the_images_of_an_update(processes, batch_size, accumulated, expected):
    rule = dict(base_batch_size=128, enable=True)
    runner = runner_of(processes, batch_size, accumulated, rule)
    scale_learning_rate(runner)
    assert runner.optim_wrapper.optimizer.lr == pytest.approx(expected)
    assert not runner.auto_scale_lr['enable']  # mmengine does not scale once more


def test_the_rate_of_a_resumed_run_is_scaled_to_be_compared():
    # That of the checkpoint is what it goes on with, see test_distributed.
    runner = runner_of(4, 128, None, dict(base_batch_size=128, enable=True))
    runner._resume = True
    scale_learning_rate(runner)
    assert runner.optim_wrapper.optimizer.lr == pytest.approx(0.032)
    assert not runner.auto_scale_lr['enable']


def test_the_rate_is_scaled_on_request_alone_and_needs_its_batch():
    for rule in (None, dict(base_batch_size=128)):
        runner = runner_of(4, 128, None, rule)
        scale_learning_rate(runner)
        assert runner.optim_wrapper.optimizer.lr == 0.008
    with pytest.raises(ConfigError, match=r'auto_scale_lr\.base_batch_size'):
        scale_learning_rate(runner_of(4, 128, None, dict(enable=True)))
