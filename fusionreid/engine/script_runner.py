"""Running our own scripts from a script that needs several of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock

from fusionreid.cores import usable_cores

SHOWN_OF_A_FAILURE = 15
# Small models gain nothing from more.
MAX_THREADS = 4


class ScriptError(RuntimeError):
    """A script failed, or was ended because another one did."""


class ScriptRunner:
    """Runs Python scripts, several side by side, and shows how far they are.

    Args:
        jobs: How many run side by side. Each gets its share of the cores.

    Raises:
        ValueError: If ``jobs`` is not positive.
    """

    def __init__(self, jobs: int = 1) -> None:
        if jobs < 1:
            raise ValueError(f'jobs must be at least 1, got {jobs}')
        self.jobs = jobs
        self.threads = min(MAX_THREADS, max(1, usable_cores() // jobs))
        self._lock = Lock()
        self._running: set[subprocess.Popen] = set()
        self._stopped = False

    def run(
        self,
        title: str,
        command: Iterable[str | Path],
        log: Path,
        progress: Callable[[str], str | None] | None = None,
    ) -> None:
        """Run a script to its end and keep all of its output in a file.

        Args:
            title: What the shown lines begin with.
            command: The script and its arguments.
            log: File for the output; an existing one is replaced.
            progress: Turns a line of the output into what is shown of it, None for nothing.
                Without it no line is shown.

        Raises:
            ScriptError: If the script fails; its last lines are shown before.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open('w') as file, self._start([str(part) for part in command]) as process:
            for line in process.stdout:
                file.write(line)
                file.flush()
                if progress and (shown := progress(line)):
                    say(f'  {title}: {shown}')
        with self._lock:
            self._running.discard(process)
            stopped = self._stopped
        if process.returncode:
            if not stopped:
                say('\n'.join(log.read_text().splitlines()[-SHOWN_OF_A_FAILURE:]))
            raise ScriptError(f'{title} failed, all of its output is in {log}')

    def run_all(self, tasks: Iterable[Callable[[], object]]) -> None:
        """Call functions that run scripts, ``jobs`` of them at a time.

        The first failure ends the scripts that run, and no further function is called; the runner
        starts nothing afterwards.

        Args:
            tasks: The functions, in the order in which they are started.

        Raises:
            Exception: What the first failing function raised.
        """
        errors: list[BaseException] = []

        def call(task: Callable[[], object]) -> None:
            if errors:
                return
            try:
                task()
            except BaseException as error:
                errors.append(error)
                self._stop()

        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(call, task) for task in tasks]
            try:
                wait(futures)
            except BaseException:  # an interrupt
                pool.shutdown(wait=False, cancel_futures=True)
                self._stop()
                raise
        if errors:
            raise errors[0]

    def _start(self, command: list[str]) -> subprocess.Popen:
        # Loader workers share the cores: threads that spin while they wait would starve them.
        environment = dict(os.environ, OMP_WAIT_POLICY='passive', OMP_NUM_THREADS=str(self.threads))
        with self._lock:
            if self._stopped:
                raise ScriptError('not started: another script failed')
            process = subprocess.Popen(
                [sys.executable, '-u', *command],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors='replace',
                env=environment,
            )
            self._running.add(process)
        return process

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def training_progress(line: str) -> str | None:
    """Shorten a line of MMEngine's training log.

    Args:
        line: The line.

    Returns:
        Epoch, batch, loss and time left, or the scores after an epoch; None for other lines.
    """
    if match := re.search(
        r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\].*eta: (\S+).*?loss: (\S+)', line
    ):
        epoch, step, steps, eta, loss = match.groups()
        return f'epoch {epoch}, batch {step}/{steps}, loss {loss}, {eta} left'
    if match := re.search(r'Epoch\(val\) \[(\d+)\].*?reid/mAP: (\S+)\s+reid/rank1: (\S+)', line):
        epoch, score, rank1 = match.groups()
        return f'after epoch {epoch}: mAP {float(score):.1f}, Rank-1 {float(rank1):.1f}'
    return None
