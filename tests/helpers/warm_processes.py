"""Python processes that start at once: forked from one that has imported everything.

A process like any other: with arguments, a working directory, an environment and a session of its
own, to be signaled and killed. Importing PyTorch and MMPretrain takes seconds, a fork milliseconds.
"""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[2]
SECONDS = 200  # for a process that is waited for; machines are busy


@functools.cache
def warm_context() -> multiprocessing.context.BaseContext:
    """A context of multiprocessing whose processes have imported everything."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['preloaded'])
    # The server passes over what it cannot import, and until Python 3.13 knows no other folders.
    before = os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ['PYTHONPATH']
        else:
            os.environ['PYTHONPATH'] = before
    return context


class WarmProcess:
    """A process that runs Python with arguments, to be used as ``subprocess.Popen`` is.

    Args:
        arguments: As after ``python``: ``-c CODE``, ``-m MODULE`` or a script, and what follows.
        output: File for what it prints, errors included.
        cwd: Its working directory.
        variables: Variables of its environment, besides those of the tests.
    """

    def __init__(
        self, arguments: Sequence[object], output: Path, cwd: Path = ROOT, **variables: object
    ) -> None:
        environment = dict(os.environ, **{key: str(value) for key, value in variables.items()})
        self.output = output
        output.touch()
        self._process = warm_context().Process(
            target=_be, args=([str(each) for each in arguments], output, cwd, environment)
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit status, if it has ended."""
        return self.returncode

    def wait(self, timeout: float = SECONDS) -> int:
        """Wait for the end.

        Raises:
            subprocess.TimeoutExpired: If it does not come.
        """
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired('a warm process', timeout, self.text())
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, and what is left of its process group."""
        with suppress(ProcessLookupError):  # it may have no group yet, or none any more
            os.killpg(self.pid, signal.SIGKILL)
        self.send_signal(signal.SIGKILL)
        self._process.join(20)

    def wait_for(self, pattern: str, timeout: float = SECONDS) -> None:
        """Wait until it has printed what a regular expression finds."""
        end = time.monotonic() + timeout
        while not re.search(pattern, self.text()):
            assert self.poll() is None, self.text()[-3000:]
            assert time.monotonic() < end, self.text()[-3000:]
            time.sleep(0.05)

    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(errors='replace')

    def __enter__(self) -> WarmProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class WarmCommand(WarmProcess):
    """What ``subprocess.Popen`` is for a ``CommandRunner``, but warm.

    Args:
        command: The interpreter, ``-u``, and arguments.
        env: Its environment.
        options: How the output is read, which is the same here.
    """

    def __init__(self, command: Sequence[str], env: dict[str, str], **options: object) -> None:
        descriptor, output = tempfile.mkstemp()
        os.close(descriptor)
        super().__init__(command[2:], Path(output), Path.cwd(), **env)

    @property
    def stdout(self) -> Iterator[str]:
        """The lines of its output, as they come, until its end."""
        rest = ''
        with self.output.open(errors='replace') as file:
            while True:
                ended = self.poll() is not None
                *lines, rest = (rest + file.read()).split('\n')
                yield from (f'{line}\n' for line in lines)
                if ended:
                    break
                time.sleep(0.02)
        if rest:
            yield rest

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def __exit__(self, *_: object) -> None:
        self.wait()
        self.output.unlink()


# Stands in for the module where commands run others.
WARM_SUBPROCESS = SimpleNamespace(Popen=WarmCommand, PIPE=subprocess.PIPE, STDOUT=subprocess.STDOUT)


def run(
    arguments: Sequence[object],
    output: Path,
    cwd: Path = ROOT,
    timeout: float = SECONDS,
    **variables: object,
) -> int:
    """Run a process to its end; see :class:`WarmProcess`.

    Returns:
        Its exit status.
    """
    with WarmProcess(arguments, output, cwd, **variables) as process:
        return process.wait(timeout)


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def start_ranks(
    arguments: Sequence[object],
    outputs: Sequence[Path],
    cwd: Path = ROOT,
    **variables: object,
) -> list[WarmProcess]:
    """Start the processes of a distributed run, as torchrun does.

    Args:
        arguments: Arguments of each.
        outputs: A file for each.
        cwd: Their working directory.
        variables: Variables of their environment.
    """
    world = dict(WORLD_SIZE=len(outputs), MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port())
    world |= dict(LOCAL_WORLD_SIZE=len(outputs))
    return [
        WarmProcess(
            arguments, output, cwd, **{**world, 'RANK': rank, 'LOCAL_RANK': rank, **variables}
        )
        for rank, output in enumerate(outputs)
    ]


def run_ranks(
    arguments: Sequence[object],
    outputs: Sequence[Path],
    cwd: Path = ROOT,
    timeout: float = SECONDS,
    **variables: object,
) -> list[int]:
    """Run the processes of a distributed run to their ends; where one fails, the others end too.

    Returns:
        The exit status of each.
    """
    with ExitStack() as stack:
        processes = [
            stack.enter_context(each) for each in start_ranks(arguments, outputs, cwd, **variables)
        ]
        end = time.monotonic() + timeout
        failed_at = None
        while any(each.poll() is None for each in processes):
            now = time.monotonic()
            if failed_at is None and any(each.poll() for each in processes):
                failed_at = now
            # torchrun ends the others at once; here they may end by themselves.
            if now > end or (failed_at and now > failed_at + 30):
                break
            time.sleep(0.05)
        for process in processes:
            process.send_signal(signal.SIGKILL)
        return [each.wait(20) for each in processes]


def _be(arguments: list[str], output: Path, cwd: Path, environment: dict[str, str]) -> None:
    """Become the process."""
    os.setsid()
    with output.open('w') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    assert 'preloaded' in sys.modules, 'the server has not imported what it should have'
    import torch

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    multiprocessing.set_start_method(None, force=True)  # as in any process
    if 'OMP_NUM_THREADS' in environment:  # was read when PyTorch was imported
        torch.set_num_threads(int(environment['OMP_NUM_THREADS']))
    first, *rest = arguments
    own = [folder for folder in environment.get('PYTHONPATH', '').split(os.pathsep) if folder]
    if first in ('-c', '-m'):
        own.insert(0, str(cwd))
        code, *rest = rest
    else:
        own.insert(0, str(Path(first).resolve().parent))
    sys.path[:0] = own
    sys.argv = [first, *rest]
    try:
        if first == '-c':
            exec(compile(code, '<string>', 'exec'), {'__name__': '__main__'})
        elif first == '-m':
            runpy.run_module(code, run_name='__main__', alter_sys=True)
        else:
            runpy.run_path(first, run_name='__main__')
    finally:
        # Processes of multiprocessing leave this out; PyTorch ends its loader workers here.
        atexit._run_exitfuncs()
