"""Two processes that train together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tiny_runs import ROOT
from warm_processes import WarmProcess, free_port, start_ranks

HELPERS = Path(__file__).parent


@contextmanager
def pair(
    folder: Path, arguments: Sequence[str], **environment: str
) -> Iterator[tuple[WarmProcess, WarmProcess]]:
    """Start two trainings, as ranks 0 and 1, and end what is left of them.

    Args:
        folder: Where the outputs of the processes go.
        arguments: Of ``fusionreid train``.
        **environment: Variables of their environment.
    """
    command = ['tools/train.py', *arguments]
    outputs = [folder / f'rank{rank}' for rank in range(2)]
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(each) for each in start_ranks(command, outputs, **environment)
        )
        yield first, second


def run_launcher(
    folder: Path, arguments: Sequence[str], seconds: float, **environment: str
) -> subprocess.CompletedProcess:
    """Let torchrun start the two trainings, and wait for its end."""
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node', '2']
    command += ['--master_port', str(free_port()), '--log-dir', str(folder / 'logs')]
    process = subprocess.Popen(
        [*command, 'tools/train.py', *arguments],
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
