"""Merged parameter groups against one group for each parameter."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, build_optim_wrapper
from tiny_runs import ROOT, shrink_model
from torch import nn

from fusionreid.engine.optimizers import ReIDAmpOptimWrapper, merge_param_groups
from fusionreid.engine.schedulers import WarmupCosineLR
from fusionreid.errors import ConfigError
from fusionreid.registry import MODELS

SGD = dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-2)
ADAMW = dict(type='AdamW', lr=1e-2, weight_decay=0.05)
RULES = dict(
    norm_decay_mult=0.0,
    bias_lr_mult=2.0,
    custom_keys={'last': dict(lr_mult=0.1), 'first': dict(lr_mult=1.0)},
)


class Small(nn.Module):
    """A convolution, norms, biases and a frozen weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.middle = nn.Conv2d(8, 8, 3)
        self.last = nn.Linear(8, 4)
        self.frozen = nn.Linear(4, 4)
        self.frozen.requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.middle(self.norm(self.first(images)).relu())
        return self.frozen(self.last(maps.mean((2, 3))))


def build(model: nn.Module, merged: bool, rules: dict | None = RULES, **optimizer) -> OptimWrapper:
    cfg = dict(optimizer=optimizer, paramwise_cfg=rules)
    if merged:
        cfg['constructor'] = 'MergedParamGroups'
    return build_optim_wrapper(model, cfg)


def train(model: nn.Module, wrapper: OptimWrapper, steps: range, end: int = 6) -> list[list[float]]:
    """Take steps on seeded images, an epoch each, and return the learning rates of the groups."""
    scheduler = WarmupCosineLR(wrapper, end=end, warmup_epochs=2)
    rates = []
    for step in steps:
        images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        rates.append([group['lr'] for group in wrapper.optimizer.param_groups])
        wrapper.update_params(model(images).square().sum())
        scheduler.step()
    return rates


def twins() -> tuple[nn.Module, nn.Module]:
    model = Small()
    return model, deepcopy(model)


def options_of(wrapper: OptimWrapper, model: nn.Module) -> dict[str, tuple]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }


@pytest.mark.parametrize('optimizer', [SGD, ADAMW], ids=lambda optimizer: optimizer['type'])
@pytest.mark.parametrize(
    'kind', [dict(foreach=False), dict(foreach=True), {}], ids=['loop', 'foreach', 'fused']
)
def test_updates_are_those_of_a_group_for_each_parameter(kind, optimizer):
    ours, theirs = twins()
    merged = build(ours, True, **optimizer, **kind)
    separate = build(theirs, False, **optimizer, foreach=False)
    assert options_of(merged, ours) == options_of(separate, theirs)
    assert len(merged.optimizer.param_groups) == 4 < len(separate.optimizer.param_groups) == 7
    assert merged.optimizer.param_groups[0].get('fused', None) == (None if kind else True)

    rates = train(ours, merged, range(6))
    assert {rate for step in rates for rate in step} == {
        rate for step in train(theirs, separate, range(6)) for rate in step
    }
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if kind:
            assert torch.equal(one, other), name
        else:  # fused kernels round in another order
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6, msg=name)


def test_groups_keep_the_order_of_the_model():
    first, second, third, fourth = (nn.Parameter(torch.zeros(1)) for _ in range(4))
    groups = [
        dict(params=[first], lr=0.2, lr_mult=2.0),
        dict(params=[second]),
        dict(params=[third], lr=0.2),
        dict(params=[fourth], lr=0.1, betas=(0.9, 0.99)),
    ]
    merged = merge_param_groups(groups, dict(lr=0.1))
    assert [group['params'] for group in merged] == [[first, third], [second], [fourth]]
    assert [group['lr'] for group in merged] == [0.2, 0.1, 0.1]
    assert merged[2]['betas'] == (0.9, 0.99)  # another option alone keeps groups apart
    with pytest.raises(ConfigError, match='bypass_duplicate=True'):
        merge_param_groups([dict(params=[first]), dict(params=[first])], {})


def test_the_recipe_has_two_groups_and_without_rules_there_is_one():
    cfg = Config.fromfile(ROOT / 'configs' / 'fusionreid_vitb_r50_msmt17.py')
    shrink_model(cfg.model)
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {parameter: name for name, parameter in model.named_parameters()}
    weights, biases = wrapper.optimizer.param_groups
    assert (weights['lr'], biases['lr']) == (0.005, 0.01)
    assert weights['weight_decay'] == biases['weight_decay'] == 1e-4
    for group in (weights, biases):
        assert all(('bias' in names[one]) == (group is biases) for one in group['params'])
    trained = {one for one in model.parameters() if one.requires_grad}
    assert {*weights['params'], *biases['params']} == trained
    assert len(build(Small(), True, None, **SGD).optimizer.param_groups) == 1


@pytest.mark.parametrize('optimizer', [SGD, ADAMW], ids=lambda optimizer: optimizer['type'])
def test_a_resumed_optimizer_takes_the_same_steps(optimizer):
    straight, stopped = twins()
    train(straight, wrapper := build(straight, True, **optimizer), range(3))
    train(straight, wrapper, range(3, 6))
    train(stopped, wrapper := build(stopped, True, **optimizer), range(3))
    state = deepcopy(wrapper.state_dict())
    resumed = build(stopped, True, **optimizer)
    resumed.load_state_dict(state)
    train(stopped, resumed, range(3, 6))
    for one, other in zip(straight.parameters(), stopped.parameters(), strict=True):
        assert torch.equal(one, other)


def test_state_of_other_groups_is_refused_with_the_way_out():
    model = Small()
    separate = build(model, False, **SGD)
    train(model, separate, range(2))
    state = deepcopy(separate.state_dict())
    with pytest.raises(ConfigError, match='7 group.*constructor=DefaultOptimWrapperConstructor'):
        build(model, True, **SGD).load_state_dict(deepcopy(state))
    build(model, False, **SGD).load_state_dict(deepcopy(state))  # the way out

    single = build(model, True, None, **SGD)
    with pytest.raises(
        ConfigError, match=r'1 group\(s\) of 9, .* 4 group\(s\) of 2 \+ .*load_from='
    ):
        build(model, True, **SGD).load_state_dict(single.state_dict())


def test_channels_last_weights_go_on_from_a_momentum_in_the_usual_layout():
    usual, last = twins()
    train(usual, wrapper := build(usual, True, **SGD), range(3))
    last.load_state_dict(usual.state_dict())
    last.to(memory_format=torch.channels_last)
    resumed = build(last, True, **SGD)
    resumed.load_state_dict(deepcopy(wrapper.state_dict()))
    assert resumed.optimizer.param_groups[0]['fused']
    assert last.middle.weight.stride() != usual.middle.weight.stride()
    train(usual, wrapper, range(3, 6))
    train(last, resumed, range(3, 6))
    for (name, one), other in zip(last.named_parameters(), usual.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=name)


def test_an_optimizer_without_a_fused_form_is_built_as_torch_builds_it():
    wrapper = build(
        Small(), True, dict(norm_decay_mult=0.0), type='RMSprop', lr=0.1, weight_decay=1
    )
    assert [group['weight_decay'] for group in wrapper.optimizer.param_groups] == [1, 0.0]
    assert 'fused' not in wrapper.optimizer.param_groups[0]


def test_a_resumed_optimizer_keeps_the_implementation_of_its_own_config():
    first, second = twins()
    saved = build(first, True, **SGD, foreach=True)
    train(first, saved, range(2))
    ours = build(second, True, **SGD)
    ours.load_state_dict(saved.state_dict())
    assert all(group['fused'] and not group['foreach'] for group in ours.optimizer.param_groups)


def test_a_state_without_loss_scaling_can_be_loaded_with_it():
    model = Small()
    saved = ReIDAmpOptimWrapper('bfloat16', optimizer=torch.optim.SGD(model.parameters(), 0.1))
    state = saved.state_dict()
    assert state['loss_scaler'] == {}
    ours = ReIDAmpOptimWrapper('bfloat16', optimizer=torch.optim.SGD(model.parameters(), 0.1))
    ours.loss_scaler = torch.amp.GradScaler('cpu', init_scale=64.0)
    ours.load_state_dict(state)
    assert ours.loss_scaler.get_scale() == 64
    ours.load_state_dict(dict(state, loss_scaler=torch.amp.GradScaler('cpu').state_dict()))
    assert ours.loss_scaler.get_scale() == 65536


def test_the_log_has_one_line_for_all_parameters(capsys):
    MMLogger.get_instance('groups', logger_name='groups')
    rules = dict(type='OptimWrapper', optimizer=SGD, paramwise_cfg=RULES)
    wrapper = build_optim_wrapper(Small(), dict(rules, constructor='MergedParamGroups'))
    groups = wrapper.optimizer.param_groups
    shown = capsys.readouterr().out.splitlines()
    (line,) = (line for line in shown if 'is skipped' not in line)
    assert f' {len(groups)} parameter groups: lr 0.05, ' in line
    for group in groups:
        size = sum(tensor.numel() for tensor in group['params'])
        assert f'({size:,} parameters in {len(group["params"])} tensors)' in line
    # MMEngine's own constructor still logs every option.
    build_optim_wrapper(Small(), rules)
    assert capsys.readouterr().out.count('paramwise_options') > len(groups)
