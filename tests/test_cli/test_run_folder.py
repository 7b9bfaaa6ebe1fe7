"""Whose a run folder is: locks that are held, runs that are refused or moved, files left over."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tiny_runs import ROOT, parse_command, refused, write_tiny_config
from warm_processes import WarmProcess, run_ranks

from fusionreid.cli import train
from fusionreid.cli.folder_lock import locked
from fusionreid.cli.main import run_command
from fusionreid.cli.run_folder import checkpoint_folder, move_aside, take_folder
from fusionreid.errors import ConfigError, WeightsError

# What resuming needs.
CONTENT = dict(
    meta=dict(epoch=1, iter=5),
    state_dict=dict(weight=torch.zeros(2)),
    message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}),
    optimizer=dict(state={0: dict(momentum_buffer=torch.zeros(2))}, param_groups=[]),
    param_schedulers=[],
)

HOLDER = """
import sys, time
from pathlib import Path
from torch.utils.data import DataLoader
from fusionreid.cli.folder_lock import locked

with locked(Path(sys.argv[1])):
    # A worker that is forked while the lock is held, and outlives a killed parent for a while.
    loader = iter(DataLoader(range(4), num_workers=1, multiprocessing_context='fork'))
    next(loader)
    print('held', flush=True)
    time.sleep(60)
"""


def save(path: Path, **changes: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**CONTENT, **changes}, path)
    return path


def take(
    work_dir: Path, named: Path | None = None, resume: bool = False, overwrite: bool = False, **cfg
) -> str | None:
    """Take a folder as a training does, and leave it again."""
    with ExitStack() as stack:
        cfg = Config(dict(work_dir=str(work_dir), **cfg))
        return take_folder(cfg, named and str(named), resume, overwrite, stack)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file() and path.name != 'train.lock'
    }


@pytest.mark.parametrize(
    'name', ['epoch_3.pth', 'iter_7.pth', 'best_reid_mAP_epoch_2.pth', 'last_checkpoint']
)
def test_another_run_is_refused_before_anything_is_written(name, tmp_path):
    (tmp_path / name).write_text('of another run')
    with pytest.raises(ConfigError) as caught:
        take(tmp_path)
    for way in ('--resume', '--overwrite', '--work-dir', str(tmp_path), name):
        assert way in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_other_files_are_no_run(tmp_path):
    for name in ('config.py', 'epoch_1.txt', 'my_epoch_1.pth', 'train.log'):
        (tmp_path / name).write_text('mine')
    (tmp_path / '20260101_000000').mkdir()
    assert take(tmp_path) is None
    assert not list(tmp_path.glob('previous_*'))


def test_overwriting_moves_the_run_aside_and_nothing_else(tmp_path, capsys):
    own = ['epoch_1.pth', 'best_reid_mAP_epoch_1.pth', 'interrupted_after_epoch_1.pth']
    own += ['last_checkpoint', '20260101_000000/run.log']
    others = ['config.py', 'notes/epoch_1.pth', 'weights.pth', 'train.log']
    for name in own + others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    before = tree(tmp_path)
    assert take(tmp_path, overwrite=True) is None
    (previous,) = tmp_path.glob('previous_*')
    assert f'to {previous}' in capsys.readouterr().out
    assert tree(previous) == {name: before[name] for name in own}
    assert all((tmp_path / name).read_text() == name for name in others)
    assert [path.name for path in tmp_path.glob('*.pth')] == ['weights.pth']


def test_runs_that_are_moved_within_a_second_do_not_meet(tmp_path):
    targets = set()
    for content in 'abc':
        (tmp_path / 'epoch_1.pth').write_text(content)
        targets.add(move_aside(tmp_path, [tmp_path / 'epoch_1.pth']))
    assert sorted((target / 'epoch_1.pth').read_text() for target in targets) == ['a', 'b', 'c']


def test_checkpoints_in_a_folder_of_their_own_count(tmp_path):
    hooks = dict(default_hooks=dict(checkpoint=dict(out_dir=str(tmp_path / 'checkpoints'))))
    work_dir, folder = tmp_path / 'run', tmp_path / 'checkpoints' / 'run'
    assert checkpoint_folder(Config(dict(work_dir=str(work_dir), **hooks))) == folder
    saved = save(folder / 'epoch_1.pth')
    with pytest.raises(ConfigError, match='--overwrite'):
        take(work_dir, **hooks)
    assert take(work_dir, resume=True, **hooks) == str(saved)
    take(work_dir, overwrite=True, **hooks)
    assert list(folder.glob('previous_*/epoch_1.pth'))


def test_a_checkpoint_of_elsewhere_is_not_continued_among_those_of_a_run(tmp_path):
    other = save(tmp_path / 'other' / 'epoch_1.pth')
    save(tmp_path / 'run' / 'epoch_3.pth')
    with pytest.raises(ConfigError, match=r'and .*other/epoch_1.pth is none of them'):
        take(tmp_path / 'run', named=other, resume=True)
    assert take(tmp_path / 'new', named=other, resume=True) == str(other)
    assert take(tmp_path / 'run', named=other, resume=True, overwrite=True) == str(other)
    assert list((tmp_path / 'run').glob('previous_*/epoch_3.pth'))


def test_what_is_moved_is_not_what_the_training_starts_from(tmp_path):
    named = save(tmp_path / 'epoch_3.pth')
    for resume in (True, False):
        with pytest.raises(ConfigError, match='is one of the checkpoints that --overwrite moves'):
            take(tmp_path, named=named, resume=resume, overwrite=True)
    assert named.is_file()


def test_continuing_an_earlier_checkpoint_moves_the_later_ones_aside(tmp_path, capsys):
    kept = ['epoch_1.pth', 'epoch_2.pth', 'best_reid_mAP_epoch_2.pth', 'iter_90.pth']
    later = ['interrupted_after_epoch_2.pth', 'epoch_3.pth', 'epoch_10.pth']
    later += ['best_reid_mAP_epoch_3.pth']
    for name in kept + later:
        save(tmp_path / name)
    named = tmp_path / 'epoch_2.pth'
    assert take(tmp_path, named=named, resume=True) == str(named)
    (previous,) = tmp_path.glob('previous_*')
    assert sorted(path.name for path in previous.iterdir()) == sorted(later)
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == sorted(kept)
    assert 'and 3 more' in capsys.readouterr().out


def test_resuming_without_a_checkpoint_to_resume_starts_a_new_run(tmp_path):
    (tmp_path / 'best_reid_mAP_epoch_1.pth').write_text('weights')
    assert take(tmp_path, resume=True) is None
    assert list(tmp_path.glob('previous_*/best_reid_mAP_epoch_1.pth'))
    (tmp_path / 'epoch_1.pth').write_bytes(b'damaged')
    with pytest.raises(WeightsError, match=r'no checkpoint that can be resumed.*--overwrite'):
        take(tmp_path, resume=True)


def test_only_what_killed_trainings_were_writing_is_removed(tmp_path, capsys):
    target = tmp_path / 'target'
    target.write_text('precious')
    left = ['epoch_2.pth.123.part', 'best_reid_mAP_epoch_2.pth.7.part', 'iter_5.pth.99.part']
    others = ['epoch_2.pth.part', 'notes.txt.123.part', 'epoch_2.pth.x.part', 'a.pth.1.part']
    for name in left + others:
        (tmp_path / name).write_text('half')
    (tmp_path / 'epoch_3.pth.5.part').symlink_to(target)
    (tmp_path / 'epoch_4.pth.5.part').mkdir()
    take(tmp_path)
    stay = {*others, 'epoch_3.pth.5.part', 'epoch_4.pth.5.part', 'target', 'train.lock'}
    assert {path.name for path in tmp_path.iterdir()} == stay
    assert target.read_text() == 'precious'
    assert capsys.readouterr().out.count('removed') == len(left)


@pytest.mark.slow
def test_a_second_training_is_refused_until_the_first_one_is_killed(tmp_path):
    with WarmProcess(['-c', HOLDER, tmp_path], tmp_path / 'printed.txt') as holder:
        holder.wait_for('held\n')
        (tmp_path / 'epoch_2.pth.123.part').write_text('is being written')
        with pytest.raises(ConfigError) as caught:
            take(tmp_path)
        assert f'another training runs in {tmp_path}' in str(caught.value)
        assert f'(process {holder.pid} on ' in str(caught.value)
        assert (tmp_path / 'epoch_2.pth.123.part').exists()
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(timeout=20)
        # Its worker may still be there.
        assert take(tmp_path) is None


def test_the_lock_is_released_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), locked(tmp_path):
        raise RuntimeError
    with locked(tmp_path), pytest.raises(ConfigError, match=f'process {os.getpid()} on'):
        take(tmp_path)
    take(tmp_path)


def test_what_a_lock_file_says_is_not_shown_as_it_is(tmp_path):
    with locked(tmp_path):
        (tmp_path / 'train.lock').write_text('\x1b[31mprocess x on \x1b[0m')
        with pytest.raises(ConfigError) as caught:
            take(tmp_path)
    assert '\x1b' not in str(caught.value)


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said(number, tmp_path, monkeypatch, capsys):
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, 'flock', flock)
    assert take(tmp_path) is None
    assert 'file system without locks' in capsys.readouterr().out


def test_a_lock_file_that_is_a_link_is_refused(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'train.lock').symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(ConfigError, match='train.lock cannot be locked'):
        take(tmp_path / 'run')
    assert not (tmp_path / 'elsewhere').exists()


def test_a_work_dir_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match='--work-dir .*file/run cannot be made'):
        take(tmp_path / 'file' / 'run')


def test_overwriting_and_resuming_exclude_each_other(tmp_path):
    config = 'fusionreid_vittiny_r18_synthetic'
    with pytest.raises(SystemExit) as stop:
        parse_command('train', [config, '--overwrite', '--resume'])
    assert stop.value.code == 2
    options = ['--work-dir', str(tmp_path), '--overwrite', '--cfg-options', 'resume=True']
    args = parse_command('train', [config, *options])
    with ExitStack() as stack, pytest.raises(ConfigError, match='config has resume=True'):
        train.choose_start(train.build_config(args), args, stack)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(state_dict=dict(weight=torch.tensor([float('nan')]))), 'NaN or infinite'),
        (dict(meta=dict(epoch='1', iter=5)), 'does not say after which epoch'),
        (dict(meta=[1]), 'does not say after which epoch'),
    ],
)
def test_a_named_checkpoint_that_is_bad_is_refused(changes, message, tmp_path):
    bad = save(tmp_path / 'other' / 'epoch_1.pth', **changes)
    config = ['fusionreid_vittiny_r18_synthetic', '--work-dir', str(tmp_path / 'run')]
    assert message in refused('train', [*config, '--resume', str(bad)])
    torch.save([1, 2], bad)
    assert 'holds a list' in refused('train', [*config, '--resume', str(bad)])
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_trainings_in_a_used_folder(data, tmp_path, capsys):
    config, run = write_tiny_config(tmp_path, data), tmp_path / 'run'
    short = ['--no-validate', '--cfg-options', 'train_cfg.max_epochs=1']
    command = [str(config), '--work-dir', str(run)]
    assert run_command('train', [*command, *short]) == 0
    before = tree(run)
    line = refused('train', [*command, *short])
    assert 'holds the checkpoints of a run (epoch_1.pth and 1 more)' in line
    assert tree(run) == before
    assert run_command('train', [*command, '--overwrite', *short]) == 0
    (previous,) = run.glob('previous_*')
    del before[config.name]  # MMEngine's copy of the config
    assert tree(previous) == before
    assert (run / 'epoch_1.pth').is_file()
    # A second one is refused, a test is not.
    with locked(run):
        assert 'another training runs in' in refused('train', [*command, '--resume', *short])
        test = [str(config), str(run / 'epoch_1.pth'), '--work-dir', str(run)]
        assert run_command('test', [*test, '--out', str(tmp_path / 'out')]) == 0


@pytest.mark.slow
def test_several_processes_end_together_where_the_first_is_refused(data, tmp_path):
    config, run = write_tiny_config(tmp_path, data), tmp_path / 'run'
    logs = [tmp_path / f'printed{rank}.txt' for rank in range(2)]
    arguments = [ROOT / 'tools' / 'train.py', config, '--work-dir', run, '--launcher', 'pytorch']
    with locked(run):
        codes = run_ranks(arguments, logs, tmp_path, timeout=120, OMP_NUM_THREADS=1)
    texts = [log.read_text() for log in logs]
    assert codes == [1, 1], texts
    line = f'error: another training runs in {run} (process'
    assert ''.join(texts).count(line) == 1
