from __future__ import annotations

import pytest
from mmengine.config import Config

from fusionreid.config import merge_options
from fusionreid.errors import ConfigError


def config() -> Config:
    return Config(dict(model=dict(neck=dict(num_layers=2)), steps=[dict(scale=1), dict(scale=2)]))


def test_values_are_merged_and_their_neighbors_stay():
    cfg = config()
    merge_options(cfg, {'model.neck.embed_dims': 384, 'steps.1.scale': 3, 'model.head': None})
    assert cfg.to_dict() == {
        'model': {'neck': {'num_layers': 2, 'embed_dims': 384}, 'head': None},
        'steps': [{'scale': 1}, {'scale': 3}],
    }


def test_what_the_runner_reads_may_be_missing_from_the_config():
    cfg = config()
    merge_options(cfg, {'randomness.seed': 3, 'load_from': 'x.pth', 'auto_scale_lr.enable': True})
    assert (cfg.randomness.seed, cfg.load_from, cfg.auto_scale_lr.enable) == (3, 'x.pth', True)


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('mode1.neck', r"--cfg-options mode1\.neck: .* 'mode1', did you mean 'model'\?"),
        ('quux', r"nothing is called 'quux'$"),
        ('model.neck.num_layers.a', r'--cfg-options model\.neck\.num_layers\.a do not fit'),
        ('steps.2.scale', r'steps\.2\.scale do not fit the config'),
    ],
)
def test_a_key_that_nothing_reads_changes_nothing(key, message):
    cfg = config()
    with pytest.raises(ConfigError, match=message) as error:
        merge_options(cfg, {key: 1})
    assert '\n' not in str(error.value)
    assert cfg.to_dict() == config().to_dict()
