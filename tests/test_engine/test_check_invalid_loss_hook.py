from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_runs import render_tiny, write_tiny_config
from torch import nn
from warm_processes import run_ranks

from fusionreid.cli.main import run_command
from fusionreid.engine.hooks import CheckInvalidLossHook
from fusionreid.errors import InvalidLossError
from fusionreid.structures import ReIDDataSample

NAN, INF = float('nan'), float('inf')
# A loss that turns NaN for one feature at the first batch of the second epoch.
POISONED_HEAD = """
from fusionreid.models import BNNeckHead
from fusionreid.registry import MODELS


@MODELS.register_module(force=True)
class PoisonedHead(BNNeckHead):
    steps = 0

    def loss(self, features, ids):
        losses = super().loss(features, ids)
        self.steps += 1
        if self.in_channels == 64 and self.steps > {steps}:
            losses['loss_triplet'] = losses['loss_triplet'] * float('nan')
        return losses
"""


def fake_runner() -> SimpleNamespace:
    return SimpleNamespace(iter=41, epoch=2, logger=logging.getLogger('finite-loss-test'))


def check(outputs: dict | None, files: list[str]) -> None:
    samples = [ReIDDataSample(metainfo=dict(img_path=file)) for file in files]
    outputs = outputs and {name: torch.tensor(value) for name, value in outputs.items()}
    CheckInvalidLossHook().after_train_iter(fake_runner(), 6, dict(data_samples=samples), outputs)


@pytest.mark.parametrize('outputs', [None, {}, {'loss': 1.5, 'cnn.loss_id': 1.5}, {'loss': 3e38}])
def test_finite_losses_pass(outputs):
    check(outputs, ['a.jpg'])


@pytest.mark.parametrize('value', [NAN, INF, -INF])
def test_step_feature_and_files_are_named(value, caplog):
    files = [f'{index}.jpg' for index in range(7)]
    outputs = {'loss': value, 'cnn.loss_id': 2.0, 'cnn_fused.loss_triplet': value, 'grad_norm': INF}
    with pytest.raises(InvalidLossError) as error:
        check(outputs, files)
    message = str(error.value)
    assert message.startswith(
        'the loss is not finite at iteration 42 (epoch 3, batch 7): '
        f'loss_triplet of cnn_fused is {value}; '
        'the batch holds 0.jpg, 1.jpg, 2.jpg, 3.jpg and 3 more, see the log'
    )
    assert 'loss_id' not in message
    assert 'grad_norm' not in message
    assert all(file in caplog.text for file in files)


def test_an_overflow_of_the_sum_alone_is_named():
    with pytest.raises(InvalidLossError, match=r'loss is inf; the batch holds no named files\.'):
        check({'loss': INF, 'cnn.loss_id': 3e38, 'transformer.loss_id': 3e38}, [])


def test_infinite_gradients_pass():
    # As in float16 training whose loss scale is still too high: the step is skipped, not the run.
    layer = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler('cpu', init_scale=2.0**127)
    loss = layer(torch.full((4, 2), 1e3)).square().mean()
    scaler.scale(loss).backward()
    before = layer.weight.clone()
    assert not layer.weight.grad.isfinite().all()
    scaler.step(optimizer)
    scaler.update()
    check({'loss': loss.item()}, ['a.jpg'])
    assert torch.equal(layer.weight, before)
    assert scaler.get_scale() < 2.0**127


ONE_OF_TWO = """
import logging, os, sys
from types import SimpleNamespace

import torch

from fusionreid.engine.hooks import CheckInvalidLossHook
from fusionreid.errors import InvalidLossError

rank, store = int(os.environ['RANK']), sys.argv[1]
torch.distributed.init_process_group('gloo', f'file://{store}', rank=rank, world_size=2)
logging.disable()
runner = SimpleNamespace(iter=4, epoch=0, logger=logging.getLogger())
for loss in (1.0, float('nan') if rank else 1.0):
    outputs = dict(loss=torch.tensor(loss)) | {'cnn.loss_id': torch.tensor(loss)}
    try:
        CheckInvalidLossHook().after_train_iter(
            runner, 4, dict(data_samples=[dict(img_path=f'{rank}.jpg')]), outputs
        )
        print('passed')
    except InvalidLossError as error:
        print(error)
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_all_processes_stop_with_the_same_message(tmp_path):
    logs = [tmp_path / f'printed{rank}.txt' for rank in range(2)]
    assert run_ranks(['-c', ONE_OF_TWO, tmp_path / 'store'], logs) == [0, 0]
    outputs = [log.read_text() for log in logs]
    assert outputs[0] == outputs[1]
    first, second = outputs[0].splitlines()
    assert first == 'passed'
    assert ': in process 1, loss_id of cnn is nan; the batch holds 1.jpg.' in second


@pytest.mark.slow
def test_a_run_stops_and_keeps_its_checkpoints(tmp_path, monkeypatch, capsys):
    data = render_tiny(tmp_path / 'data')
    (tmp_path / 'poisoned_head.py').write_text(POISONED_HEAD.format(steps=12))
    monkeypatch.syspath_prepend(str(tmp_path))
    config = write_tiny_config(
        tmp_path,
        data,
        extra="custom_imports['imports'].append('poisoned_head')\nmodel['head'].update(type="
        "'PoisonedHead')\n",
    )
    run = tmp_path / 'run'
    with pytest.raises(SystemExit) as stop:
        run_command('train', [str(config), '--work-dir', str(run), '--no-validate'])
    message = str(stop.value)
    assert message.startswith('error: the loss is not finite at iteration 13 (epoch 2, batch ')
    assert 'loss_triplet of cnn is nan' in message
    named = next(word for word in message.split() if word.endswith('.jpg,'))[:-1]
    assert Path(named).is_file()
    for checkpoint in run.glob('*.pth'):
        state = torch.load(checkpoint, weights_only=True)['state_dict']
        assert all(value.isfinite().all() for value in state.values())
    assert (run / 'epoch_1.pth').exists()
    assert not (run / 'epoch_2.pth').exists()
    log = next(run.glob('*/*.log')).read_text()
    assert log.count('.jpg') >= 8
