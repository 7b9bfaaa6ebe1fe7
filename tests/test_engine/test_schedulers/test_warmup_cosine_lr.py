"""The published learning rates: of all groups, resumed, scaled, and in short trainings."""

from __future__ import annotations

import csv
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.runner import Runner
from tiny_runs import ROOT
from torch import nn

from fusionreid.engine.optimizers import scale_learning_rate
from fusionreid.engine.schedulers import WarmupCosineLR
from fusionreid.errors import ConfigError
from fusionreid.registry import PARAM_SCHEDULERS

CONFIGS = ROOT / 'configs'
GOLDEN = ROOT / 'tests' / 'data' / 'golden' / 'lr_schedule_bias.csv'
EPOCHS = 180


class Line(BaseModel):
    """A weight and a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(2, 1)

    def forward(self, inputs: torch.Tensor, mode: str) -> dict[str, torch.Tensor]:
        return dict(loss=self.line(torch.stack(inputs)).mean())


class RateRecorder(Hook):
    """Keeps the learning rates with which each epoch is trained, by parameter."""

    def __init__(self) -> None:
        self.rates: list[dict[str, float]] = []

    def before_train_epoch(self, runner: Runner) -> None:
        self.rates.append(rates_of(runner.optim_wrapper, runner.model))


def rates_of(wrapper: OptimWrapper, model: nn.Module) -> dict[str, float]:
    names = {parameter: name.rpartition('.')[2] for name, parameter in model.named_parameters()}
    return {
        names[parameter]: group['lr']
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }


def run_schedule(
    wrapper: OptimWrapper, scheduler: WarmupCosineLR, model: nn.Module, epochs: int
) -> list[dict[str, float]]:
    rates = []
    for _ in range(epochs):
        rates.append(rates_of(wrapper, model))
        wrapper.step()
        scheduler.step()
    return rates


def build_schedule(
    model: nn.Module,
    epochs: int,
    optimizer: dict,
    name: str = 'fusionreid_vitb_r50_msmt17',
    **change,
) -> tuple[OptimWrapper, WarmupCosineLR]:
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.optim_wrapper.update(optimizer)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    cfg.param_scheduler.update(change)
    return wrapper, PARAM_SCHEDULERS.build(dict(cfg.param_scheduler, optimizer=wrapper, end=epochs))


def golden_rates() -> list[dict[str, float]]:
    with GOLDEN.open() as file:
        return [
            dict(weight=float(row['lr']), bias=float(row['lr_bias']))
            for row in csv.DictReader(file)
        ]


def assert_rates(rates: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    assert len(rates) == len(expected)
    for epoch, (one, other) in enumerate(zip(rates, expected, strict=True), 1):
        assert one == pytest.approx(other, rel=1e-9, abs=0), f'epoch {epoch}'


@pytest.mark.parametrize(
    ('constructor', 'groups'),
    [('MergedParamGroups', [3, 3]), ('DefaultOptimWrapperConstructor', [1] * 6)],
)
def test_published_config_follows_the_published_rates(constructor, groups):
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(2, 1))
    wrapper, scheduler = build_schedule(model, EPOCHS, dict(constructor=constructor))
    assert [len(group['params']) for group in wrapper.optimizer.param_groups] == groups
    assert_rates(run_schedule(wrapper, scheduler, model, EPOCHS), golden_rates())


def train_line(work_dir: Path, batch_size: int, **settings) -> list[dict[str, float]]:
    """Train by the published schedule, scaled to the batch, an update an epoch.

    Returns:
        Learning rates of each epoch.
    """
    cfg = Config.fromfile(CONFIGS / 'fusionreid_vitb_r50_msmt17.py')
    loader = dict(
        batch_size=batch_size,
        dataset=[dict(inputs=torch.ones(2))],
        sampler=dict(type='DefaultSampler'),
    )
    recorder = RateRecorder()
    runner = Runner(
        Line(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=EPOCHS),
        auto_scale_lr=dict(cfg.auto_scale_lr, enable=True),
        optim_wrapper=cfg.optim_wrapper,
        param_scheduler=cfg.param_scheduler,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=95)),
        custom_hooks=[recorder, dict(type='SafeCheckpointHook'), dict(type='ResumeReportHook')],
        log_level='WARNING',
        default_scope='fusionreid',
        experiment_name=work_dir.name,
        cfg=dict(train_dataloader=dict(batch_size=batch_size), optim_wrapper=cfg.optim_wrapper),
        **settings,
    )
    scale_learning_rate(runner)
    runner.train()
    return recorder.rates


@pytest.mark.slow
@pytest.mark.parametrize(('batch_size', 'scale'), [(128, 1), (32, 0.25)])
def test_training_follows_the_scaled_rates_also_after_it_was_resumed(batch_size, scale, tmp_path):
    expected = [{name: scale * rate for name, rate in epoch.items()} for epoch in golden_rates()]
    assert_rates(train_line(tmp_path / 'straight', batch_size), expected)
    checkpoint = str(tmp_path / 'straight' / 'epoch_95.pth')
    resumed = train_line(tmp_path / 'resumed', batch_size, load_from=checkpoint, resume=True)
    assert_rates(resumed, expected[95:])


@pytest.mark.parametrize('done', [1, 4, 9, 90, 179])
def test_resumed_schedule_continues(done):
    model = Line()
    straight = run_schedule(*build_schedule(model, EPOCHS, {}), model, EPOCHS)
    wrapper, scheduler = build_schedule(model, EPOCHS, {})
    run_schedule(wrapper, scheduler, model, done)
    states = deepcopy((wrapper.state_dict(), scheduler.state_dict()))
    # Settings of the resumed run that differ do not change the schedule.
    other = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
    wrapper, scheduler = build_schedule(
        model, 50, other, warmup_epochs=3, warmup_factor=0.5, final_factor=0.1
    )
    wrapper.load_state_dict(states[0])
    scheduler.load_state_dict(states[1])
    assert scheduler.get_last_value()[0] == straight[done]['weight']
    assert run_schedule(wrapper, scheduler, model, EPOCHS - done) == straight[done:]


def test_a_run_of_an_earlier_version_goes_on_by_its_own_rule(caplog):
    model = Line()
    wrapper, scheduler = build_schedule(model, EPOCHS, {})
    state = deepcopy(scheduler.state_dict())
    for key in ('warmup_epochs', 'warmup_rates', 'final_rates'):
        del state[key]
    state.update(shape=(EPOCHS, 10, 0.01, 0.002), last_step=100, _global_step=100)
    with caplog.at_level('WARNING'):
        scheduler.load_state_dict(state)
    scheduler.step()
    rates = run_schedule(wrapper, scheduler, model, EPOCHS - 101)
    weights = [epoch['weight'] for epoch in golden_rates()[101:]]
    assert_rates(rates, [dict(weight=rate, bias=2 * rate) for rate in weights])


def test_the_state_of_another_schedule_is_refused():
    wrapper, scheduler = build_schedule(Line(), EPOCHS, {})
    other = PARAM_SCHEDULERS.build(dict(type='MultiStepLR', optimizer=wrapper, milestones=[3]))
    with pytest.raises(ConfigError, match=r'another schedule .*lacks warmup_epochs, .*load_from='):
        scheduler.load_state_dict(other.state_dict())


def rates_of_groups(
    end: int, bases: tuple[float, ...] = (0.1,), **settings
) -> list[tuple[float, ...]]:
    groups = [dict(params=[nn.Parameter(torch.zeros(1))], lr=base) for base in bases]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    scheduler = WarmupCosineLR(optimizer, end=end, **settings)
    rates = []
    for _ in range(end):
        rates.append(tuple(group['lr'] for group in optimizer.param_groups))
        optimizer.step()
        scheduler.step()
    return rates


def test_no_rate_exceeds_its_base_and_frozen_groups_stay_frozen():
    bases = (0.1, 0.2, 0.0005, 0.0001, 0.0)
    rates = rates_of_groups(20, bases, warmup_epochs=5, warmup_factor=0.01, final_factor=0.002)
    columns = list(zip(*rates, strict=True))
    for base, column in zip(bases, columns, strict=True):
        assert max(column) <= base
    assert rates[0] == pytest.approx((0.0208, 0.0408, 0.0005, 0.0001, 0.0))
    assert rates[-1] == pytest.approx((0.0002, 0.0002, 0.0002, 0.0001, 0.0))
    assert set(columns[3]) == {0.0001}
    assert set(columns[4]) == {0.0}


@pytest.mark.parametrize(
    ('end', 'warmup_epochs', 'expected'),
    [
        (1, 0, [1.0]),
        (1, 1, [1.0]),
        (2, 0, [1.0, 0.501]),
        (2, 1, [1.0, 0.501]),
        (2, 2, [0.505, 0.501]),
        (3, 0, [0.7505, 0.2515, 0.002]),
        (4, 0, [0.85384628, 0.501, 0.14815372, 0.002]),
    ],
)
def test_short_trainings_do_not_run_at_the_final_rate(end, warmup_epochs, expected):
    rates = [rate for (rate,) in rates_of_groups(end, warmup_epochs=warmup_epochs)]
    assert rates == pytest.approx([0.1 * share for share in expected], rel=1e-6)


def test_rates_of_the_synthetic_config():
    model = Line()
    name = 'synthetic/fusionreid_vittiny_r18_synthetic'
    shares = {
        6: [0.93368257, 0.7525, 0.505, 0.2575, 0.07631743, 0.01],
        1: [1.0],
    }
    for epochs, expected in shares.items():
        rates = run_schedule(*build_schedule(model, epochs, {}, name), model, epochs)
        for epoch, share in zip(rates, expected, strict=True):
            assert epoch == pytest.approx(dict(weight=1e-3 * share, bias=1e-3 * share), rel=1e-6)


@pytest.mark.parametrize(
    ('setting', 'value', 'message'),
    [
        ('warmup_epochs', 6, r'warmup_epochs=6 is not in \[0, 5\], the epochs of the training'),
        ('warmup_epochs', -1, r'warmup_epochs=-1 is not in \[0, 5\]'),
        ('warmup_epochs', 'ten', r"warmup_epochs='ten' is not in \[0, 5\]"),
        ('warmup_factor', 1.5, r'warmup_factor=1.5 is not in \[0, 1\], a share'),
        ('warmup_factor', None, r'warmup_factor=None is not in \[0, 1\]'),
        ('final_factor', -0.1, r'final_factor=-0.1 is not in \[0, 1\], a share'),
        ('final_factor', float('nan'), r'final_factor=nan is not in \[0, 1\]'),
    ],
)
def test_values_out_of_range_are_refused_in_one_line(setting, value, message):
    settings = dict(warmup_epochs=0) | {setting: value}
    with pytest.raises(ConfigError, match=rf'^{message}[^\n]*set param_scheduler\.{setting}$'):
        rates_of_groups(5, **settings)


def test_recipe_of_the_published_config():
    cfg = Config.fromfile(CONFIGS / 'fusionreid_vitb_r50_msmt17.py')
    assert cfg.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.005, momentum=0.9, weight_decay=1e-4
    )
    assert cfg.train_cfg.max_epochs == EPOCHS
    sampler = cfg.train_dataloader.sampler
    assert (sampler.ids_per_batch, sampler.instances_per_id, cfg.train_dataloader.batch_size) == (
        8,
        16,
        128,
    )
    assert cfg.randomness.seed == 1111
    assert cfg.model.branches.transformer.backbone.drop_path_rate == 0.1
