"""Two processes on gloo against one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import ROOT, write_tiny_config
from warm_processes import run_ranks

from fusionreid.cli.main import run_command
from fusionreid.cli.processes import print_once

pytestmark = pytest.mark.slow  # several processes

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


def launch(script: str, processes: int, arguments: list[str], folder: Path) -> None:
    """Run a tool as torchrun does, or in one process."""
    if processes > 1:
        arguments = [*arguments, '--launcher', 'pytorch']
    codes = run_ranks(
        [ROOT / 'tools' / script, *arguments],
        outputs := [folder / f'printed{rank}.txt' for rank in range(processes)],
        cwd=folder,
        timeout=600,
        OMP_NUM_THREADS=1,
        PYTHONPATH=os.pathsep.join([str(ROOT), str(folder)]),
    )
    assert codes == [0] * processes, '\n'.join(each.read_text()[-3000:] for each in outputs)


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
    assert scores[0].keys() == scores[1].keys()
    assert scores[0]['reid/mAP'] > 0
    for key, value in scores[0].items():
        assert scores[1][key] == pytest.approx(value, abs=1e-4), key


@pytest.fixture(scope='module')
def fused(data, tmp_path_factory) -> tuple[Path, list[str], Path]:
    """A config, its arguments and its run on two processes, with all that two processes can do."""
    folder = tmp_path_factory.mktemp('fused')
    config = write_tiny_config(folder, data)
    arguments = ['--amp', 'bf16', '--auto-scale-lr', '--cfg-options']
    arguments += ['train_dataloader.sampler.ids_per_batch=2', 'train_dataloader.batch_size=4']
    arguments += ['model.head.loss_triplet.type=BatchHardTripletLoss']
    arguments += ['model.head.loss_triplet.mining=global', 'optim_wrapper.accumulative_counts=5']
    run = folder / 'run'
    launch('train.py', 2, [str(config), '--work-dir', str(run), *arguments], folder)
    return config, arguments, run


@pytest.mark.large
def test_two_processes_compile_whole_graphs_in_bf16(data, tmp_path):
    config = write_tiny_config(tmp_path, data)
    options = ['train_dataloader.sampler.ids_per_batch=2', 'train_dataloader.batch_size=4']
    options += ['train_cfg.max_epochs=1', 'default_hooks.logger.interval=1']
    # The compiled model draws other numbers for drop path.
    options += ['model.branches.transformer.backbone.drop_path_rate=0.0']
    # A layer of each kind: compiling takes most of the time.
    options += ['model.branches.transformer.backbone.arch.num_layers=1', 'model.neck.num_layers=1']
    fast = ['model.compile.backend=aot_eager', 'model.compile.fullgraph=True']
    fast += ['model.channels_last=True']
    losses = []
    for name, extra in (('eager', []), ('compiled', fast)):
        run = tmp_path / name
        arguments = [str(config), '--work-dir', str(run), '--amp', 'bf16']
        launch('train.py', 2, [*arguments, '--cfg-options', *options, *extra], tmp_path)
        losses.append([row['loss'] for row in scalars(run) if 'loss' in row])
        assert [row['reid/mAP'] for row in scalars(run) if 'reid/mAP' in row][-1] > 0
    assert len(losses[0]) == len(losses[1]) > 2
    assert losses[1][0] == pytest.approx(losses[0][0], rel=5e-3)
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def scalars(run: Path) -> list[dict]:
    lines = [line for file in run.glob('*/vis_data/scalars.json') for line in file.open()]
    return [json.loads(line) for line in lines]


def copy_of_epoch_1(run: Path, folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(run / 'epoch_1.pth', folder)
    return folder


def test_the_fusion_model_trains_on_two_processes(fused):
    _, _, run = fused
    rows = [row for row in scalars(run) if 'loss' in row]
    # Unused parameters would end the run at its second step.
    assert len(rows) > 2
    assert all(0 < row['loss'] < 1000 for row in rows)
    # 2 processes x 4 images x 5 batches, where the rate is for 32; the second of two epochs is
    # half-way to the cosine's end at 0.002.
    assert rows[-1]['lr'] == pytest.approx(1e-3 * 40 / 32 * (1 + 0.002) / 2)
    meta = torch.load(run / 'epoch_2.pth', weights_only=True)['meta']
    assert (meta['epoch'], meta['world_size']) == (2, 2)


def test_one_process_gives_the_scores_that_two_logged_while_they_trained(fused, tmp_path):
    config, arguments, run = fused
    out = ['--work-dir', str(tmp_path), '--out', str(tmp_path)]
    run_command('test', [str(config), str(run / 'epoch_2.pth'), *out, *arguments[3:]])
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    logged = [row for row in scalars(run) if 'reid/mAP' in row][-1]
    for name in ('reid/mAP', 'reid/rank1', 'reid/mINP'):
        assert metrics[name] == pytest.approx(logged[name], abs=1e-3), name


@pytest.mark.large
def test_two_nodes_continue_a_run_of_two_processes_exactly(fused, tmp_path):
    config, arguments, run = fused
    resumed = copy_of_epoch_1(run, tmp_path / 'resumed')
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = str(probe.getsockname()[1])
    environment = dict(os.environ, OMP_NUM_THREADS='1', PYTHON=sys.executable, PORT=port)
    environment |= dict(NNODES='2', MASTER_ADDR='127.0.0.1')
    command = ['bash', str(ROOT / 'tools' / 'dist_train.sh'), str(config), '1']
    command += ['--work-dir', str(resumed), '--resume', *arguments]
    with ExitStack() as stack:
        logs = [stack.enter_context((tmp_path / f'node{rank}').open('w+')) for rank in range(2)]
        nodes = [
            subprocess.Popen(
                command,
                env=dict(environment, NODE_RANK=str(rank)),
                stdout=logs[rank],
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            for rank in range(2)
        ]
        try:
            codes = [node.wait(timeout=200) for node in nodes]
        finally:
            for node in nodes:
                if node.poll() is None:
                    os.killpg(node.pid, signal.SIGKILL)
        for log in logs:
            log.seek(0)
        texts = [log.read() for log in logs]
    assert codes == [0, 0], '\n'.join(text[-3000:] for text in texts)
    assert 'Epoch(train) [2]' in texts[0]
    assert 'Epoch(train) [1]' not in texts[0]
    assert 'was written with other settings' not in texts[0]
    first, second = (torch.load(one / 'epoch_2.pth', weights_only=True) for one in (run, resumed))
    for name, value in first['state_dict'].items():
        assert torch.equal(second['state_dict'][name], value), name
    momentum = second['optimizer']['state']
    for number, state in first['optimizer']['state'].items():
        assert all(torch.equal(momentum[number][key], value) for key, value in state.items())


def test_resuming_on_another_number_of_processes_is_said(fused, tmp_path):
    config, arguments, run = fused
    resumed = copy_of_epoch_1(run, tmp_path / 'resumed')
    command = [str(config), '--work-dir', str(resumed), '--no-validate', '--resume', *arguments]
    run_command('train', command)
    (log,) = (path.read_text() for path in resumed.glob('*/*.log'))
    assert re.search(
        'number of processes +2 +1 +changes from here on: .*, 20 images an update', log
    )
    assert re.search("optimizer.lr +0.00125 +0.000625 +the checkpoint's is kept", log)
    assert 'nothing to do' not in log
    rates = [row['lr'] for row in scalars(resumed) if 'lr' in row]
    assert rates[-1] == pytest.approx(1e-3 * 40 / 32 * (1 + 0.002) / 2)  # not scaled anew


def test_resuming_a_finished_run_says_so(fused, capfd):
    config, arguments, run = fused
    run_command('train', [str(config), '--work-dir', str(run), '--resume', *arguments])
    printed = ''.join(capfd.readouterr())
    assert 'nothing to do' in printed
    assert 'epoch 2 of 2' in printed


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU has batch norm over processes')
def test_batch_norm_over_processes_is_refused_on_a_cpu(data, tmp_path, monkeypatch):
    config = write_tiny_config(tmp_path, data)
    monkeypatch.setenv('WORLD_SIZE', '2')
    arguments = [str(config), '--work-dir', str(tmp_path), '--launcher', 'pytorch']
    with pytest.raises(SystemExit, match='error: .*for GPUs only.*sync_bn=None'):
        run_command('train', [*arguments, '--cfg-options', 'sync_bn=torch'])


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('strategy.type=FSDPStrategy', 'DistributedDataParallel alone'),
        ('runner_type=FlexibleRunner', 'DistributedDataParallel alone'),
        ('model_wrapper_cfg.type=MMFullyShardedDataParallel', 'FSDP .*not supported'),
        ('sync_bn=mmcv', "must be None or 'torch', got 'mmcv'"),
    ],
)
def test_what_several_processes_cannot_do_is_refused_at_the_door(option, message, tmp_path):
    with pytest.raises(SystemExit, match=f'error: .*{message}'):
        run_command(
            'train', ['r18_synthetic', '--work-dir', str(tmp_path), '--cfg-options', option]
        )


@pytest.mark.parametrize(
    ('launcher', 'variable', 'rank', 'printed'),
    [
        ('pytorch', 'RANK', '0', 'hello\n'),
        ('pytorch', 'RANK', '1', ''),
        ('slurm', 'SLURM_PROCID', '3', ''),
        ('none', 'RANK', '3', 'hello\n'),
    ],
)
def test_messages_come_from_one_process(launcher, variable, rank, printed, monkeypatch, capsys):
    monkeypatch.setenv(variable, rank)
    print_once(Config(dict(launcher=launcher)), 'hello')
    assert capsys.readouterr().out == printed


def test_the_first_process_draws_rank_lists_and_maps(data, tmp_path):
    """A training of two processes gives a picture of each kind an epoch to the backends."""
    hook = dict(type='ReIDVisualizationHook', num_queries=2, topk=3)
    hook |= dict(maps=['cam'], map_features=['cnn_fused'])
    config = write_tiny_config(tmp_path, data, extra=f'custom_hooks.append({hook})')
    launch('train.py', 2, [str(config), '--work-dir', str(tmp_path / 'run')], tmp_path)
    pictures = sorted((tmp_path / 'run').rglob('vis_image/*.png'))
    names = [f'{name}_{epoch}.png' for name in ('rank_lists', 'relevance') for epoch in (1, 2)]
    assert [path.name for path in pictures] == names
    with Image.open(pictures[0]) as picture:
        assert picture.width > 500
    events = EventAccumulator(str(pictures[0].parents[1]), size_guidance={'images': 0})
    events.Reload()
    for name in ('rank_lists', 'relevance'):
        assert [event.step for event in events.Images(name)] == [1, 2]
