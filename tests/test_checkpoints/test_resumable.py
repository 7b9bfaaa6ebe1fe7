from __future__ import annotations

import os

import pytest
import torch

from fusionreid.checkpoints import find_resumable
from fusionreid.errors import WeightsError

NAN = torch.tensor([1.0, float('nan')])


def hub(**changes):
    return dict(log_scalars={}, runtime_info={}, resumed_keys={}) | changes


def history(values):
    return dict(log_history=values, count_history=[1], max_length=10)


def content(**changes):
    """What resuming needs."""
    return dict(
        meta=dict(epoch=1, iter=5),
        state_dict=dict(weight=torch.zeros(2)),
        message_hub=hub(log_scalars={'loss': history([0.5])}),
        optimizer=dict(state={0: dict(momentum_buffer=torch.zeros(2))}, param_groups=[]),
        param_schedulers=[],
    ) | dict(changes)


def test_latest_readable_checkpoint(tmp_path):
    assert find_resumable(tmp_path) is None
    assert find_resumable(tmp_path / 'not there') is None
    for name in ('epoch_2', 'epoch_9', 'epoch_10', 'best_reid_mAP_epoch_99', 'iter_2000'):
        torch.save(content(), tmp_path / f'{name}.pth')
    assert find_resumable(tmp_path).name == 'epoch_10.pth'
    data = (tmp_path / 'epoch_10.pth').read_bytes()
    (tmp_path / 'epoch_10.pth').write_bytes(data[: len(data) // 2])
    assert find_resumable(tmp_path).name == 'epoch_9.pth'


@pytest.mark.parametrize(
    'record', ['/moved/elsewhere/epoch_10.pth', '../outside.pth', 'epoch_7.pth', '', '\x00', '.']
)
def test_the_record_of_the_last_checkpoint_is_not_needed(record, tmp_path):
    torch.save(content(), tmp_path / 'outside.pth')
    run = tmp_path / 'run'
    run.mkdir()
    (run / 'last_checkpoint').write_text(record)
    assert find_resumable(run) is None
    torch.save(content(), run / 'epoch_2.pth')
    assert find_resumable(run).name == 'epoch_2.pth'


def test_the_record_finds_a_checkpoint_of_another_name(tmp_path):
    torch.save(content(), tmp_path / 'mine_3.pth')
    (tmp_path / 'last_checkpoint').write_text('/moved/elsewhere/mine_3.pth')
    assert find_resumable(tmp_path).name == 'mine_3.pth'


def test_an_interrupted_epoch_lies_between_two_others(tmp_path):
    for name in ('epoch_9', 'interrupted_after_epoch_9', 'iter_99'):
        torch.save(content(), tmp_path / f'{name}.pth')
    assert find_resumable(tmp_path).name == 'interrupted_after_epoch_9.pth'
    torch.save(content(), tmp_path / 'epoch_10.pth')
    assert find_resumable(tmp_path).name == 'epoch_10.pth'


@pytest.mark.parametrize(
    ('bad', 'reason'),
    [
        ([1, 2], 'holds a list'),
        (torch.zeros(3), 'holds a Tensor'),
        ({}, 'holds no weights'),
        (dict(weight=torch.zeros(2)), 'lacks meta, message_hub, optimizer, param_schedulers'),
        (content(meta=dict(epoch=1)), 'does not say after which epoch and iter'),
        (content(meta=dict(epoch=-1, iter=5)), 'does not say after which epoch and iter'),
        (content(meta=dict(epoch=True, iter=5)), 'does not say after which epoch and iter'),
        (content(meta=dict(epoch=1, iter=5, seed=-1)), 'meta.seed must be a whole number from 0'),
        (content(meta=dict(epoch=1, iter=5, seed='open("x")')), 'meta.seed must be a whole'),
        (content(message_hub={}), 'message_hub is not of the form'),
        (content(message_hub=None), 'message_hub is not of the form'),
        (content(message_hub=hub(log_scalars='x')), 'message_hub is not of the form'),
        (content(message_hub=hub(log_scalars={'loss': {'a': 1}})), "log_scalars of 'loss' is not"),
        (content(message_hub=hub(log_scalars={'loss': history(['a'])})), "of 'loss' is not"),
        (content(optimizer=[1]), 'optimizer is not of the form'),
        (content(param_schedulers={'a': 1}), 'param_schedulers is not of the form'),
        (content(param_schedulers=[3]), 'param_schedulers is not of the form'),
        (content(state_dict=dict(weight=NAN)), 'state_dict holds a NaN or infinite value'),
        (content(state_dict=dict(weight=1 / torch.zeros(2))), 'holds a NaN or infinite value'),
        (content(optimizer=dict(state={0: dict(momentum_buffer=NAN)})), 'optimizer holds a NaN'),
        (content(ema_state_dict=dict(weight=NAN)), 'ema_state_dict holds a NaN'),
    ],
)
def test_the_one_before_is_taken_and_both_are_named(bad, reason, tmp_path, capsys):
    torch.save(content(), tmp_path / 'epoch_1.pth')
    torch.save(bad, tmp_path / 'epoch_2.pth')
    assert find_resumable(tmp_path).name == 'epoch_1.pth'
    (line,) = [line for line in capsys.readouterr().out.splitlines() if 'passed over' in line]
    assert reason in line
    assert 'epoch_2.pth' in line
    assert line.endswith('training continues from epoch_1.pth')
    (tmp_path / 'epoch_1.pth').unlink()
    with pytest.raises(WeightsError) as caught:
        find_resumable(tmp_path)
    for part in (str(tmp_path), 'epoch_2.pth', reason, '--overwrite', '--work-dir'):
        assert part in str(caught.value)


@pytest.mark.parametrize('kind', ['folder', 'link', 'dangling link', 'pipe', 'text', 'empty'])
def test_what_is_no_file_of_a_checkpoint_is_passed_over(kind, tmp_path):
    torch.save(content(), tmp_path / 'epoch_1.pth')
    bad = tmp_path / 'epoch_2.pth'
    if kind == 'folder':
        bad.mkdir()
    elif kind == 'pipe':
        os.mkfifo(bad)
    elif 'link' in kind:
        bad.symlink_to(tmp_path / ('epoch_1.pth' if kind == 'link' else 'nothing'))
    else:
        bad.write_text('no checkpoint' if kind == 'text' else '')
    assert find_resumable(tmp_path).name == 'epoch_1.pth'
