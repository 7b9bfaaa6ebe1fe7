"""Names of devices become devices that exist, or an error that says what is there."""

from __future__ import annotations

import pytest
import torch

from fusionreid.errors import ConfigError
from fusionreid.utils.device import find_device


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)


def test_the_cpu_is_always_there():
    assert find_device('cpu') == torch.device('cpu')
    assert find_device(torch.device('cpu')) == torch.device('cpu')


@pytest.mark.usefixtures('two_gpus')
@pytest.mark.parametrize('name', ['cuda', 'cuda:0', 'cuda:1'])
def test_a_gpu_that_is_there_is_found(name: str):
    assert find_device(name) == torch.device(name)


@pytest.mark.usefixtures('two_gpus')
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"'cuda:2' is not there: torch sees 2 GPUs"):
        find_device('cuda:2')


def test_a_machine_without_gpus_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    with pytest.raises(ConfigError, match=r"'cuda' is not there: torch sees 0 GPUs"):
        find_device('cuda')


@pytest.mark.parametrize('name', ['gpu', '', 'cuda:x', 'cpu:', 'meta', 'xpu'])
def test_unknown_names_are_refused(name: str):
    with pytest.raises(ConfigError, match='is unknown: expected cpu, cuda or'):
        find_device(name)
