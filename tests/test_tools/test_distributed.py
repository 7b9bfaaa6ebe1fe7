"""Two processes on gloo against one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_runs import ROOT, render_tiny, write_tiny_config

# A head without batch statistics and without mining inside a batch: its loss is a mean over images,
# so that two processes with half a batch each must take the very step of one process with the
# whole.
PLAIN_HEAD = """
from mmengine.model import BaseModule
from torch import nn
from torch.nn import functional as F

from fusionreid.registry import MODELS


@MODELS.register_module()
class PlainHead(BaseModule):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.classifier = nn.Linear(in_channels, num_classes)

    def forward(self, features):
        return features

    def loss(self, features, ids):
        return dict(loss_id=F.cross_entropy(self.classifier(features), ids))
"""


def launch(script: str, processes: int, arguments: list[str], folder: Path) -> str:
    """Run a tool as torchrun does, or in one process."""
    command = [sys.executable]
    if processes > 1:
        command += [
            '-m',
            'torch.distributed.run',
            '--standalone',
            '--nproc_per_node',
            str(processes),
        ]
    command += [str(ROOT / 'tools' / script), *arguments]
    if processes > 1:
        command += ['--launcher', 'pytorch']
    environment = dict(
        os.environ, OMP_NUM_THREADS='1', PYTHONPATH=os.pathsep.join([str(ROOT), str(folder)])
    )
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    return render_tiny(tmp_path_factory.mktemp('data') / 'synthetic')


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory) -> tuple[Path, Path, list[Path]]:
    """The config and the runs by one and by two processes on the same global batches."""
    folder = tmp_path_factory.mktemp('runs')
    (folder / 'plain_head.py').write_text(PLAIN_HEAD)
    config = write_tiny_config(
        folder,
        data,
        'vittiny_synthetic',
        extra="custom_imports['imports'].append('plain_head')\n"
        "model['head'] = dict(type='PlainHead', num_classes=8)\n"
        "model['branches']['transformer']['backbone']['drop_path_rate'] = 0.0\n"
        "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))\n",
    )
    runs = []
    for processes in (1, 2):
        work_dir = folder / f'run{processes}'
        options = ['--cfg-options', f'train_dataloader.sampler.ids_per_batch={4 // processes}']
        options += [f'train_dataloader.batch_size={8 // processes}']
        launch('train.py', processes, [str(config), '--work-dir', str(work_dir), *options], folder)
        runs.append(work_dir)
    return folder, config, runs


def test_two_processes_take_the_steps_of_one(trained):
    _, _, (one, two) = trained
    first, second = (
        torch.load(run / 'epoch_2.pth', weights_only=True)['state_dict'] for run in (one, two)
    )
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(second[name], first[name], atol=2e-5, rtol=1e-3, msg=name)


def test_two_processes_score_as_one(trained):
    folder, config, (one, _) = trained
    metrics = []
    for processes in (1, 2):
        out = folder / f'test{processes}'
        launch(
            'test.py',
            processes,
            [str(config), str(one / 'epoch_2.pth'), '--work-dir', str(out), '--out', str(out)],
            folder,
        )
        metrics.append(json.loads((out / 'metrics.json').read_text()))
    scores = [
        {key: value for key, value in found.items() if key.startswith('reid/')} for found in metrics
    ]
    assert scores[0].keys() == scores[1].keys() and scores[0]['reid/mAP'] > 0
    for key, value in scores[0].items():
        assert scores[1][key] == pytest.approx(value, abs=1e-4), key


def test_the_fusion_model_trains_on_two_processes(data, tmp_path):
    config = write_tiny_config(tmp_path, data)
    options = ['train_dataloader.sampler.ids_per_batch=2', 'train_dataloader.batch_size=4']
    arguments = [str(config), '--work-dir', str(tmp_path / 'run'), '--no-validate', '--amp', 'bf16']
    launch('train.py', 2, [*arguments, '--cfg-options', *options], tmp_path)
    rows = [
        json.loads(line)
        for line in next((tmp_path / 'run').glob('*/vis_data/scalars.json'))
        .read_text()
        .splitlines()
    ]
    losses = [row['loss'] for row in rows if 'loss' in row]
    assert losses and all(0 < loss < 1000 for loss in losses)
    assert torch.load(tmp_path / 'run' / 'epoch_2.pth', weights_only=True)['meta']['epoch'] == 2
