"""Two stacks of OpenMMLab packages under the same import names."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner

from fusionreid import stack
from fusionreid.errors import WeightsError
from fusionreid.stack import describe_mixture, find_distributions, find_stack


def install(folder: Path, distribution: str, package: str, owns: bool = True) -> None:
    """Write what pip leaves of a distribution: its files and its record of them."""
    (folder / package).mkdir(parents=True, exist_ok=True)
    (folder / package / '__init__.py').touch()
    info = folder / f'{distribution.replace("-", "_")}-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n')
    (info / 'RECORD').write_text(f'{package}/__init__.py,,\n' if owns else 'link.pth,,\n')


def test_this_installation_is_no_mixture():
    assert describe_mixture() is None
    assert find_stack() in ('upstream', 'onedl')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        stack.warn_of_mixture()


def test_a_mixture_is_named_in_one_line(tmp_path, monkeypatch):
    install(tmp_path, 'mmengine', 'mmengine')
    install(tmp_path, 'mmcv-lite', 'mmcv')
    assert describe_mixture([str(tmp_path)]) is None
    install(tmp_path, 'onedl-mmengine', 'mmengine')
    install(tmp_path, 'mmcv', 'mmcv')
    line = describe_mixture([str(tmp_path)])
    assert line.startswith('mmengine 1.0 and onedl-mmengine 1.0; mmcv 1.0 and mmcv-lite 1.0 are')
    monkeypatch.setattr('sys.path', [str(tmp_path)])
    with pytest.warns(UserWarning, match='mmengine 1.0 and onedl-mmengine 1.0') as caught:
        stack.warn_of_mixture()
    shown = warnings.formatwarning(
        caught[0].message, UserWarning, caught[0].filename, caught[0].lineno
    )
    assert shown.count('\n') == 1
    monkeypatch.setattr('sys.path', [str(tmp_path)])
    assert find_stack() == 'mixed'


def test_distributions_that_share_no_files_are_no_mixture(tmp_path):
    machine, environment = tmp_path / 'machine', tmp_path / 'environment'
    install(machine, 'mmengine', 'mmengine')
    install(environment, 'onedl-mmengine', 'mmengine')
    # An environment that sees the machine's packages, and one with an editable installation.
    assert describe_mixture([str(environment), str(machine)]) is None
    assert find_distributions('mmengine', [str(machine)]) == ['mmengine 1.0']
    install(machine, 'onedl-mmengine', 'mmengine', owns=False)
    assert describe_mixture([str(machine)]) is None


class Harmful:
    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (str(self.flag),)


class Model(BaseModel):
    def forward(self, inputs, data_samples=None, mode='tensor'):
        return []


def test_the_runner_executes_nothing_of_a_local_checkpoint(tmp_path):
    flag, path = tmp_path / 'executed', tmp_path / 'crafted.pth'
    torch.save(dict(state_dict={}, meta=Harmful(flag)), path)
    runner = Runner(
        Model(),
        work_dir=str(tmp_path / 'run'),
        test_dataloader=dict(dataset=[1], sampler=dict(type='DefaultSampler'), batch_size=1),
        test_cfg=dict(),
        test_evaluator=[],
        load_from=str(path),
        custom_hooks=[dict(type='fusionreid.StrictLoadHook')],
        experiment_name='crafted',
    )
    with pytest.raises(WeightsError, match='refused'):
        runner.test()
    assert not flag.exists()
