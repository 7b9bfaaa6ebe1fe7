"""Two processes on gloo, of which one is stopped, killed, slow, or hangs."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import pytest
from mmengine.config import Config
from process_pairs import pair, run_launcher
from tiny_runs import write_tiny_config

from fusionreid.cli.processes import timeouts_of

TIMEOUT = 6  # seconds
PAUSE = 8  # seconds, longer
EPOCH = r'Epoch\(train\)'


@pytest.fixture(scope='module')
def config(data, tmp_path_factory) -> Path:
    return write_tiny_config(
        tmp_path_factory.mktemp('config'),
        data,
        'r18_synthetic',
        extra="custom_imports['imports'].append('process_deeds')\n"
        "train_dataloader['batch_size'] = 4\n"
        "train_dataloader['sampler']['ids_per_batch'] = 2\n"
        "default_hooks['logger']['interval'] = 1\n",
    )


def arguments(config: Path, folder: Path, epochs: int = 50, **env_cfg: float) -> list[str]:
    return [
        *(str(config), '--work-dir', str(folder / 'run'), '--launcher', 'pytorch'),
        *('--cfg-options', f'env_cfg.dist_cfg.timeout={TIMEOUT}'),
        *(f'env_cfg.{name}={value}' for name, value in env_cfg.items()),
        f'train_cfg.max_epochs={epochs}',
    ]


def last_error(text: str) -> str:
    """The only line of an error, which ends what a process printed."""
    assert 'Traceback' not in text, text[-3000:]
    (line,) = (line for line in text.splitlines() if line.startswith('error: '))
    return line


@pytest.mark.slow
@pytest.mark.parametrize('lost', [0, 1])
@pytest.mark.parametrize('sent', [signal.SIGSTOP, signal.SIGKILL])
def test_a_process_that_is_stopped_or_killed_ends_the_other(sent, lost, config, tmp_path):
    other = 1 - lost
    with pair(tmp_path, arguments(config, tmp_path), DEED='') as both:
        both[0].wait_for(EPOCH)
        both[lost].send_signal(sent)
        assert both[other].wait(60) == 1
        line = last_error(both[other].text())
    assert f'process {lost} of 2 has not answered' in line
    assert '--resume' in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ('deed', 'limit', 'place'),
    [
        ('hangs in its forward', f'{TIMEOUT} s (env_cfg.dist_cfg.timeout)', 'in hang'),
        ('hangs in a hook', f'{TIMEOUT} s (env_cfg.dist_cfg.timeout)', 'in hang'),
        ('hangs in scoring', f'{PAUSE} s (env_cfg.long_timeout)', 'in '),
    ],
)
def test_a_process_that_hangs_is_named_by_all(deed, limit, place, config, tmp_path):
    with pair(tmp_path, arguments(config, tmp_path, long_timeout=PAUSE), DEED=deed) as both:
        assert [each.wait() for each in both] == [1, 1], both[0].text()[-3000:]
        first, hanging = (last_error(each.text()) for each in both)
    lost = f'error: process 1 of 2 has not answered for {limit}'
    assert first == f'{lost}. Start all processes again with --resume'
    assert hanging.startswith(f'{lost}, this one being at ')
    assert place in hanging


@pytest.mark.slow
def test_a_process_that_waits_for_its_data_ends_all(config, tmp_path):
    with pair(tmp_path, arguments(config, tmp_path), DEED='hangs in its data loader') as both:
        assert [each.wait() for each in both] == [1, 1], both[0].text()[-3000:]
        line = last_error(both[1].text())
        assert f'process 1 of 2 waits for its data loader for {TIMEOUT} s' in line
        assert 'process 1 of 2 has not answered' in last_error(both[0].text())


@pytest.mark.slow
def test_a_process_that_never_joins_is_named(config, tmp_path):
    with pair(tmp_path, arguments(config, tmp_path), DEED='dies at once') as both:
        assert both[1].wait() == 3
        assert both[0].wait(60) == 1
        assert 'process 1 of 2 has not answered' in last_error(both[0].text())


@pytest.mark.slow
def test_slow_work_that_is_declared_and_a_suspended_job_go_on(config, tmp_path):
    deed = 'is slow where that is declared'
    command = [*arguments(config, tmp_path, epochs=1), '--check']
    with pair(tmp_path, command, DEED=deed, PAUSE=str(PAUSE)) as both:
        both[0].wait_for(EPOCH)
        for each in both:
            each.send_signal(signal.SIGSTOP)
        time.sleep(PAUSE)
        for each in both:
            each.send_signal(signal.SIGCONT)
        assert [each.wait() for each in both] == [0, 0], both[0].text()[-3000:]
        # The first process has checked the data, for all.
        assert 'images: 0 errors' in both[0].text()
        assert 'images: 0 errors' not in both[1].text()
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()


@pytest.mark.slow
def test_data_with_errors_end_all_processes(data, config, tmp_path):
    broken = shutil.copytree(data, tmp_path / 'data')
    next(broken.glob('bounding_box_train/*.jpg')).write_bytes(b'no image')
    command = [*arguments(config, tmp_path), '--check', '--data-root', str(broken)]
    with pair(tmp_path, command, DEED='') as both:
        assert [each.wait() for each in both] == [1, 1], both[0].text()[-3000:]
        assert 'the check has found 1 errors' in both[0].text()
        assert 'Traceback' not in both[1].text()


@pytest.mark.slow
def test_the_launcher_ends_with_the_processes(config, tmp_path):
    command = arguments(config, tmp_path)
    done = run_launcher(tmp_path, command, 240, DEED='hangs in its forward')
    assert done.returncode != 0
    assert f'error: process 1 of 2 has not answered for {TIMEOUT} s' in done.stdout


@pytest.mark.parametrize('seconds', [0, 4.9, -1, 'long', True, float('nan'), float('inf')])
@pytest.mark.parametrize('name', ['dist_cfg.timeout', 'long_timeout'])
def test_a_timeout_is_a_number_of_seconds(name, seconds):
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict())))
    cfg.merge_from_dict({f'env_cfg.{name}': seconds})
    with pytest.raises(ValueError, match=f'env_cfg.{name} must be .* seconds'):
        timeouts_of(cfg)


def test_long_work_may_take_no_less_than_other_work():
    assert timeouts_of(Config()) == (600, 7200)
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict(timeout=9000))))
    assert timeouts_of(cfg) == (9000, 9000)
