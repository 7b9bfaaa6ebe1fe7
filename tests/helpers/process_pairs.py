"""Two processes that train together, forked from one that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tiny_runs import ROOT

HELPERS = Path(__file__).parent
# Starting, two epochs of a tiny model and the exit, on a busy machine.
LONGEST = 240

_FORKS = multiprocessing.get_context('forkserver')
_FORKS.set_forkserver_preload(
    [
        'fusionreid.cli.train',
        'fusionreid.datasets',
        'fusionreid.engine',
        'fusionreid.evaluation',
        'fusionreid.models',
        'fusionreid.visualization',
        'mmpretrain',
        'torch._dynamo',
    ]
)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def train_as(environment: dict[str, str], arguments: Sequence[str], output: Path) -> None:
    """Train as one process of several; called in a process of its own."""
    from fusionreid.cli.main import run_command

    os.setpgrp()
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(environment)
    os.chdir(ROOT)
    run_command('train', arguments)


class Pair:
    """Two trainings as ranks 0 and 1.

    Args:
        folder: Where the outputs of the processes go.
        arguments: Of ``fusionreid train``.
        environment: Further variables.
    """

    def __init__(self, folder: Path, arguments: Sequence[str], environment: dict[str, str]):
        self.outputs = [folder / f'rank{rank}' for rank in range(2)]
        environment = environment | dict(
            MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port(), WORLD_SIZE='2'
        )
        self.processes = []
        for rank, output in enumerate(self.outputs):
            ranked = dict(environment, RANK=str(rank), LOCAL_RANK=str(rank))
            output.touch()
            process = _FORKS.Process(target=train_as, args=(ranked, arguments, output))
            process.start()
            self.processes.append(process)

    def text(self, rank: int) -> str:
        """What a process has printed so far."""
        return self.outputs[rank].read_text()

    def wait_for(self, text: str) -> None:
        """Wait until the first process has printed something."""
        deadline = time.monotonic() + LONGEST
        while text not in self.text(0):
            assert time.monotonic() < deadline, self.text(0)[-3000:]
            assert all(each.is_alive() for each in self.processes), self.text(0)[-3000:]
            time.sleep(0.1)

    def wait(self, rank: int, seconds: float = LONGEST) -> int | None:
        """Wait for the end of a process.

        Returns:
            The exit status; None if it goes on.
        """
        self.processes[rank].join(seconds)
        return self.processes[rank].exitcode

    def send(self, sent: int, *ranks: int) -> None:
        """Send a signal to processes."""
        for rank in ranks:
            os.kill(self.processes[rank].pid, sent)


@contextmanager
def pair(folder: Path, arguments: Sequence[str], **environment: str) -> Iterator[Pair]:
    """Start two trainings, and end what is left of them.

    Args:
        folder: See :class:`Pair`.
        arguments: See :class:`Pair`.
        **environment: See :class:`Pair`.
    """
    both = Pair(folder, arguments, environment)
    try:
        yield both
    finally:
        for process in both.processes:
            if process.is_alive():
                process.kill()
            process.join()


def run_launcher(
    folder: Path, arguments: Sequence[str], seconds: float, **environment: str
) -> subprocess.CompletedProcess:
    """Let torchrun start the two trainings, and wait for its end."""
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node', '2']
    command += ['--master_port', free_port(), '--log-dir', str(folder / 'logs'), 'tools/train.py']
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        env=dict(os.environ, PYTHONPATH=f'{HELPERS}:{ROOT}', OMP_NUM_THREADS='1', **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return subprocess.CompletedProcess(process.args, process.returncode, output)
