"""Two processes on gloo, of which one is stopped, killed, slow, or hangs in its data loader."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mmengine.config import Config
from tiny_runs import ROOT, write_tiny_config

from fusionreid.cli.processes import _timeout_of

TIMEOUT = 6  # seconds
# Importing, two epochs of a tiny model and the exit, on a busy machine.
LONGEST = 240
# What the modules below do in one process of the two.
PLUGIN = """
import os
import time

rank, deed = int(os.environ['RANK']), os.environ['DEED']

if deed == 'dies at once' and rank == 1:
    os._exit(3)
if deed == 'hangs in its data loader' and rank == 1:
    from fusionreid.datasets.base_reid_dataset import ReIDDataset

    read = ReIDDataset.__getitem__
    left = 20

    def hanging(self, index):
        global left
        left -= 1
        while left < 0:
            time.sleep(1)
        return read(self, index)

    ReIDDataset.__getitem__ = hanging
elif deed == 'scores and saves slowly' and rank == 0:
    import torch
    from fusionreid.evaluation.metrics import ReIDMetric

    compute, save = ReIDMetric.compute_metrics, torch.save

    def slow_scores(self, results):
        time.sleep({pause})
        return compute(self, results)

    def slow_save(*args, **kwargs):
        time.sleep({pause})
        return save(*args, **kwargs)

    ReIDMetric.compute_metrics, torch.save = slow_scores, slow_save
"""


class Pair:
    """Two processes that train together."""

    def __init__(self, folder: Path, config: Path, deed: str, epochs: int, launcher: bool):
        self.outputs = [folder / f'rank{rank}' for rank in range(2)]
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            port = str(probe.getsockname()[1])
        (folder / 'plugin.py').write_text(PLUGIN.format(pause=2 * TIMEOUT))
        environment = dict(
            os.environ, PYTHONPATH=f'{folder}:{ROOT}', OMP_NUM_THREADS='1', DEED=deed
        )
        arguments = [str(config), '--work-dir', str(folder / 'run'), '--launcher', 'pytorch']
        arguments += ['--cfg-options', f'env_cfg.dist_cfg.timeout={TIMEOUT}']
        arguments += [f'train_cfg.max_epochs={epochs}']
        self.started = []
        if launcher:
            command = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node', '2']
            command += ['--master_port', port, '--log-dir', str(folder / 'logs')]
            self._start([*command, 'tools/train.py', *arguments], environment, self.outputs[0])
            return
        environment |= dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, WORLD_SIZE='2')
        for rank, output in enumerate(self.outputs):
            ranked = dict(environment, RANK=str(rank), LOCAL_RANK=str(rank))
            self._start([sys.executable, 'tools/train.py', *arguments], ranked, output)

    def _start(self, command: list[str], environment: dict[str, str], output: Path) -> None:
        with output.open('w') as file:
            self.started.append(
                subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environment,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def text(self, rank: int) -> str:
        return self.outputs[rank].read_text()

    def wait_for(self, text: str) -> None:
        """Wait until the first process has printed something."""
        deadline = time.monotonic() + LONGEST
        while text not in self.text(0):
            assert time.monotonic() < deadline, self.text(0)[-3000:]
            assert all(each.poll() is None for each in self.started), self.text(0)[-3000:]
            time.sleep(0.2)

    def wait(self, rank: int, seconds: float = LONGEST) -> int:
        return self.started[rank].wait(seconds)


@contextmanager
def pair(
    folder: Path, config: Path, deed: str = '', epochs: int = 50, launcher: bool = False
) -> Iterator[Pair]:
    both = Pair(folder, config, deed, epochs, launcher)
    try:
        yield both
    finally:
        for process in both.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(scope='module')
def config(data, tmp_path_factory) -> Path:
    return write_tiny_config(
        tmp_path_factory.mktemp('config'),
        data,
        'r18_synthetic',
        extra="custom_imports['imports'].append('plugin')\n"
        "train_dataloader['batch_size'] = 4\n"
        "train_dataloader['sampler']['ids_per_batch'] = 2\n"
        "default_hooks['logger']['interval'] = 1\n",
    )


def last_error(text: str) -> str:
    """The only line of an error, which ends what a process printed."""
    assert 'Traceback' not in text
    (line,) = (line for line in text.splitlines() if line.startswith('error: '))
    return line


@pytest.mark.slow
@pytest.mark.parametrize('lost', [0, 1])
@pytest.mark.parametrize('sent', [signal.SIGSTOP, signal.SIGKILL])
def test_a_process_that_is_stopped_or_killed_ends_the_other(sent, lost, config, tmp_path):
    other = 1 - lost
    with pair(tmp_path, config) as both:
        both.wait_for('Epoch(train)')
        os.kill(both.started[lost].pid, sent)
        began = time.monotonic()
        assert both.wait(other, 60) == 1
        assert time.monotonic() - began < 60
        line = last_error(both.text(other))
    assert f'process {lost} of 2 has not answered' in line
    assert '--resume' in line


@pytest.mark.slow
def test_a_process_that_waits_for_its_data_ends_all(config, tmp_path):
    with pair(tmp_path, config, 'hangs in its data loader') as both:
        assert both.wait(1) == 1
        assert both.wait(0, 60) == 1, both.text(0)[-3000:]
        line = last_error(both.text(1))
        assert f'process 1 of 2 waits for its data loader for {TIMEOUT} s' in line
        assert 'process 1 of 2 has not answered' in last_error(both.text(0))


@pytest.mark.slow
def test_a_process_that_never_joins_is_named(config, tmp_path):
    with pair(tmp_path, config, 'dies at once') as both:
        assert both.wait(1) == 3
        assert both.wait(0, 60) == 1
        assert 'process 1 of 2 has not answered' in last_error(both.text(0))


@pytest.mark.slow
def test_a_process_that_scores_and_saves_for_longer_is_waited_for(config, tmp_path):
    with pair(tmp_path, config, 'scores and saves slowly', epochs=1) as both:
        assert [both.wait(rank) for rank in range(2)] == [0, 0], both.text(0)[-3000:]
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()


@pytest.mark.slow
def test_both_may_be_stopped_and_go_on(config, tmp_path):
    with pair(tmp_path, config, epochs=8) as both:
        both.wait_for('Epoch(train)')
        for sent in (signal.SIGSTOP, signal.SIGCONT):
            for process in both.started:
                os.kill(process.pid, sent)
            time.sleep(2 * TIMEOUT)
        assert [both.wait(rank) for rank in range(2)] == [0, 0], both.text(0)[-3000:]


@pytest.mark.slow
def test_the_launcher_ends_with_the_processes(config, tmp_path):
    with pair(tmp_path, config, launcher=True) as both:
        both.wait_for('Epoch(train)')
        (agent,) = both.started
        children = Path(f'/proc/{agent.pid}/task/{agent.pid}/children').read_text().split()
        ranks = {}
        for child in map(int, children):
            variables = Path(f'/proc/{child}/environ').read_bytes().split(b'\0')
            ranks[next(each for each in variables if each.startswith(b'RANK='))] = child
        os.kill(ranks[b'RANK=1'], signal.SIGSTOP)
        # torchrun gives a process 30 seconds to end.
        assert both.wait(0, 120) != 0
        assert 'error: process 1 of 2 has not answered for 6 s' in both.text(0)


@pytest.mark.parametrize('timeout', [0, 4.9, -1, 'long', True, float('nan'), float('inf')])
def test_the_timeout_is_a_number_of_seconds(timeout):
    with pytest.raises(ValueError, match='env_cfg.dist_cfg.timeout must be .* seconds'):
        _timeout_of(Config(dict(env_cfg=dict(dist_cfg=dict(timeout=timeout)))))
