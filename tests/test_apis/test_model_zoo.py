"""Models by name, from this package and through mmpretrain."""

from __future__ import annotations

from pathlib import Path

import mmpretrain
import pytest
import torch

import fusionreid
from fusionreid.config import find_config, packaged_configs
from fusionreid.errors import ConfigError, WeightsError

NAME = 'fusionreid_vittiny_r18_synthetic'


def test_the_list():
    names = fusionreid.list_models()
    assert names == sorted(packaged_configs())
    assert fusionreid.list_models('fusionreid_vitb_r50_*_s16') == [
        'fusionreid_vitb_r50_dukemtmc_s16',
        'fusionreid_vitb_r50_market1501_s16',
        'fusionreid_vitb_r50_msmt17_s16',
    ]
    assert fusionreid.list_models('nothing*') == []


@pytest.mark.slow
def test_weights_are_those_of_the_file(tmp_path: Path):
    first = fusionreid.get_model(NAME)
    torch.save(dict(state_dict=first.state_dict()), tmp_path / 'weights.pth')
    second = fusionreid.get_model(NAME, pretrained=tmp_path / 'weights.pth', device='cpu')
    assert not second.training
    assert second._config.input_size == first._config.input_size
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, rtol=0, atol=0)
    with pytest.raises(WeightsError, match='does not fit the model of its config'):
        fusionreid.get_model('r18_synthetic', pretrained=tmp_path / 'weights.pth')
    assert fusionreid.get_model(NAME, flip_test=True).flip_test
    with pytest.raises(ConfigError, match='flip_tset'):
        fusionreid.get_model(NAME, flip_tset=True)
    with pytest.raises(ConfigError, match='there is no config file'):
        fusionreid.get_model('nothing')


def test_mmpretrain_builds_the_same_model(tmp_path: Path):
    """With the scope named, since its own registry does not know ours."""
    ours = fusionreid.get_model(NAME)
    torch.save(dict(state_dict=ours.state_dict()), tmp_path / 'weights.pth')
    theirs = mmpretrain.get_model(
        find_config(NAME), pretrained=str(tmp_path / 'weights.pth'), _scope_='fusionreid'
    )
    images = torch.rand(2, 3, *ours._config.input_size)
    with torch.no_grad():
        expected, found = ours(images), theirs(images)
    for name, feature in expected.items():
        torch.testing.assert_close(found[name], feature, rtol=0, atol=0)
