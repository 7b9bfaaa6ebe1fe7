from __future__ import annotations

import csv

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from tiny_runs import ROOT

from fusionreid.engine.schedulers import WarmupCosineLR
from fusionreid.registry import PARAM_SCHEDULERS

GOLDEN = ROOT / 'tests' / 'data' / 'golden' / 'lr_schedule.csv'


def test_published_config_follows_the_published_rates():
    cfg = Config.fromfile(ROOT / 'configs' / 'fusionreid_vitb_r50_msmt17.py')
    model = torch.nn.Linear(3, 2)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper.copy())
    scheduler = PARAM_SCHEDULERS.build(dict(cfg.param_scheduler, optimizer=wrapper, end=180))
    rates = {name: [] for name, _ in model.named_parameters()}
    for _ in range(180):
        for group, name in zip(wrapper.optimizer.param_groups, rates, strict=True):
            rates[name].append(group['lr'])
        wrapper.step()
        scheduler.step()
    with GOLDEN.open() as file:
        golden = [float(row['lr']) for row in csv.DictReader(file)]
    assert rates['weight'] == pytest.approx(golden, rel=1e-9)
    assert rates['bias'] == pytest.approx([2 * rate for rate in golden], rel=1e-9)


def test_recipe_of_the_published_config():
    cfg = Config.fromfile(ROOT / 'configs' / 'fusionreid_vitb_r50_msmt17.py')
    assert cfg.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.005, momentum=0.9, weight_decay=1e-4
    )
    assert cfg.train_cfg.max_epochs == 180
    sampler = cfg.train_dataloader.sampler
    assert (sampler.ids_per_batch, sampler.instances_per_id, cfg.train_dataloader.batch_size) == (
        8,
        16,
        128,
    )
    assert cfg.randomness.seed == 1111
    assert cfg.model.branches.transformer.backbone.drop_path_rate == 0.1


def test_resumed_schedule_continues():
    def make():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        return optimizer, WarmupCosineLR(optimizer, end=20, warmup_epochs=4)

    def run(optimizer, scheduler, epochs):
        rates = []
        for _ in range(epochs):
            rates.append(optimizer.param_groups[0]['lr'])
            optimizer.step()
            scheduler.step()
        return rates

    straight = run(*make(), 20)
    optimizer, scheduler = make()
    first = run(optimizer, scheduler, 7)
    states = optimizer.state_dict(), scheduler.state_dict()
    optimizer, scheduler = make()
    optimizer.load_state_dict(states[0])
    scheduler.load_state_dict(states[1])
    assert first + run(optimizer, scheduler, 13) == pytest.approx(straight)


def test_warmup_longer_than_training_is_refused():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(ValueError, match='warmup_epochs=10'):
        WarmupCosineLR(optimizer, end=5)
