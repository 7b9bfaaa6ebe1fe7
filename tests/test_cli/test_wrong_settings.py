"""Each value of a config in turn is replaced by wrong ones: a run starts, or ends in one line."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop
from tiny_runs import refused, write_tiny_config

from fusionreid.cli import runner_config
from fusionreid.config import check_arguments, check_settings
from fusionreid.errors import ConfigError

pytestmark = pytest.mark.slow  # builds many models

WRONG = [0, -1, 1.5, 'abc', None, [], {}, math.nan, True]
# Of the values that are found, so many are tried in a run each; more take minutes.
STEP = 9
# Variables of the config file that nothing reads, and what is like another.
UNREAD = {'train_pipeline', 'test_pipeline', 'data_root', 'dataset_type', 'custom_imports'}
ALIKE = {'test_dataloader', 'test_evaluator'}


class StartedError(Exception):
    """The first step is done."""


@pytest.fixture(scope='module')
def config(data, tmp_path_factory) -> Config:
    cfg = Config.fromfile(write_tiny_config(tmp_path_factory.mktemp('config'), data))
    cfg.optim_wrapper.clip_grad = dict(max_norm=5.0)
    cfg.optim_wrapper.accumulative_counts = 2
    cfg.optim_wrapper.paramwise_cfg = dict(custom_keys=dict(bias=dict(lr_mult=2.0)))
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    return cfg


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths of all values of a config, those of dicts and lists included."""
    if path:
        yield path
    if isinstance(value, (dict, list, tuple)):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(entry, (*path, key))


def cases(config: Config) -> Iterator[tuple[tuple, Any]]:
    """Paths of values, and wrong ones."""
    settings = {key: value for key, value in config.to_dict().items() if key not in UNREAD | ALIKE}
    for path in leaves(settings):
        for wrong in WRONG:
            yield path, wrong


def changed(config: Config, path: tuple, wrong: Any) -> Config:
    """A config with another value."""
    settings = part = config.to_dict()
    for key in path[:-1]:
        if isinstance(part[key], tuple):
            part[key] = list(part[key])
        part = part[key]
    part[path[-1]] = copy.deepcopy(wrong)
    return Config(settings)


def problem(cfg: Config) -> str | None:
    """What the door says of a config."""
    try:
        check_settings(cfg)
        check_arguments(cfg)
    except ConfigError as error:
        return str(error)
    return None


@pytest.fixture(scope='module')
def checked(config) -> list[tuple[tuple, Any, str | None]]:
    """Paths of values, wrong ones, and what the door says of them."""
    return [(*case, problem(changed(config, *case))) for case in cases(config)]


def test_the_door_lets_a_value_pass_or_tells_it_in_one_line(checked):
    told = [('.'.join(map(str, path)), line) for path, _, line in checked if line]
    assert len(told) > 500
    for name, line in told:
        assert '\n' not in line, name
        assert line.startswith(name.split('.')[0]), name


def test_a_run_starts_or_ends_in_one_line(config, checked, tmp_path, monkeypatch):
    run_iter = EpochBasedTrainLoop.run_iter

    def run_one(self, *args):
        run_iter(self, *args)
        raise StartedError

    monkeypatch.setattr(EpochBasedTrainLoop, 'run_iter', run_one)
    started = 0
    passing = [(path, wrong) for path, wrong, line in checked if line is None]
    for path, wrong in passing[::STEP]:
        cfg = changed(config, path, wrong)
        cfg._filename = config.filename
        monkeypatch.setattr(runner_config, 'read_config', lambda _, cfg=cfg: cfg)
        try:
            line = refused('train', [config.filename, '--work-dir', str(tmp_path)])
        except StartedError:
            started += 1
        else:
            assert '\n' not in line, (path, wrong)
    assert 0 < started < len(passing[::STEP])
