from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from fusionreid.config import check_settings, packaged_configs, read_config
from fusionreid.errors import ConfigError


@pytest.fixture(scope='module')
def config() -> Config:
    return read_config('fusionreid_vittiny_r18_synthetic')


def changed(config: Config, name: str, value: object) -> dict[str, Any]:
    """A config in which one setting, given by its dotted name, has a value."""
    whole = part = config.to_dict()
    *parents, last = [int(key) if key.isdigit() else key for key in name.split('.')]
    for key in parents:
        part = part[key] if isinstance(key, int) else part.setdefault(key, {})
    part[last] = value
    return whole


@pytest.mark.parametrize(
    ('name', 'values'),
    [
        ('train_cfg.max_epochs', (1.5, 0, -1, 'abc', None, True, float('nan'))),
        ('train_cfg.val_interval', (0, 2.0)),
        ('train_cfg.val_begin', (-1, 'abc')),
        ('train_cfg', ([], 'abc')),
        ('optim_wrapper.clip_grad.max_norm', ('abc', 0, -1, float('inf'))),
        ('optim_wrapper.clip_grad.max_nrom', (5,)),
        ('optim_wrapper.accumulative_counts', (0, 1.5)),
        ('optim_wrapper.optimizer.lr', (-0.1, float('nan'), 'abc', None)),
        ('optim_wrapper.optimizer.weight_decay', (-1, 'abc')),
        ('optim_wrapper.paramwise_cfg.custom_keys.bias.lr_mult', ('abc',)),
        ('model.branches.transformer.backbone.drop_path_rate', (2, 1, -0.1, 'abc', True)),
        ('model.teacher', (['a.py', 'a.pth'], dict(weights='a.pth'), None)),
        ('model.teacher.cfg', (5, {}, None)),
        ('model.teacher.cache', (True, '', ['a'])),
        ('model.distill_losses.relational', ('RelationalLoss', {})),
        ('train_dataloader.batch_size', (0, 1.5, 'abc')),
        ('val_dataloader.num_workers', (-1, 0.5)),
        ('test_dataloader.pin_memory', (1, 'no')),
        ('train_dataloader.dataset.pipeline.0', ('LoadReIDImage', {}, None)),
        ('default_hooks.checkpoint.interval', (0, -2, 'abc')),
        ('default_hooks.logger.interval', (0, -1)),
        ('custom_hooks.0.interval', (0,)),
        ('custom_hooks.0', ('EMAHook', None)),
        ('visualizer.vis_backends.0', ('WandbVisBackend',)),
        ('env_cfg.mp_cfg.mp_start_method', ('frok',)),
        ('randomness.seed', (-1, 2**32, 'abc')),
        ('compile', ('abc', 1)),
        ('log_level', ('LOUD', None)),
        ('input_size', (256, (256,), (256, 0), 'ab')),
    ],
)
def test_impossible_values_are_named(name, values, config):
    for value in values:
        with pytest.raises(ConfigError) as error:
            check_settings(changed(config, name, value))
        message = str(error.value)
        assert '\n' not in message
        # An entry that is not allowed is told by the dict that holds it.
        assert message.startswith(name.rpartition('.')[0])
        assert ' must be ' in message
        assert 'got ' in message


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('train_cfg', None),
        ('optim_wrapper.optimizer.lr', 1),
        ('optim_wrapper.clip_grad', None),
        ('default_hooks.checkpoint', None),
        ('default_hooks.checkpoint.interval', -1),
        ('val_evaluator', [dict(type='ReIDMetric')]),
        ('model.branches.transformer.backbone.drop_path_rate', 0),
        ('param_scheduler', [dict(type='PolyLR')]),
        ('nothing.we.know', 'abc'),
    ],
)
def test_possible_values_pass(name, value, config):
    check_settings(changed(config, name, value))
    check_settings(Config(changed(config, name, value)))


def test_an_error_names_setting_expectation_and_value():
    with pytest.raises(ConfigError) as error:
        check_settings(dict(train_cfg=dict(max_epochs=1.5)))
    assert str(error.value) == 'train_cfg.max_epochs must be a whole number from 1 on, got 1.5'


@pytest.mark.slow
def test_packaged_configs_pass():
    for name in packaged_configs():
        check_settings(read_config(name))
