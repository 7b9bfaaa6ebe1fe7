"""Running commands from a command that needs several of them, and telling how far they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock

from joblib import cpu_count

from fusionreid.errors import CommandError
from fusionreid.utils.progress import time_left
from fusionreid.utils.terminal import say, say_lines

PROGRAM = ('-m', 'fusionreid.cli')
SHOWN_OF_A_FAILURE = 15
# Small models gain nothing from more.
MAX_THREADS = 4


class CommandRunner:
    """Runs commands of ``fusionreid`` in processes of their own, several side by side.

    Args:
        jobs: How many run side by side. Each gets its share of the cores.

    Raises:
        ValueError: If ``jobs`` is not positive.
    """

    def __init__(self, jobs: int = 1) -> None:
        if jobs < 1:
            raise ValueError(f'jobs must be at least 1, got {jobs}')
        self.jobs = jobs
        self.threads = min(MAX_THREADS, max(1, cpu_count() // jobs))
        self._lock = Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def run(
        self,
        title: str,
        command: Iterable[object],
        log: Path,
        progress: Callable[[str], Iterable[str]] | None = None,
    ) -> None:
        """Run a command to its end and keep all of its output in a file.

        Args:
            title: What the shown lines begin with.
            command: The command and its arguments, as after ``fusionreid``.
            log: File for the output; an existing one is replaced.
            progress: Is called with every line of the output and returns the lines to show, such
                as :class:`TrainingProgress`. Without it nothing is shown.

        Raises:
            CommandError: If the command fails; its last lines are shown before.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open('w') as file, self._start([str(part) for part in command]) as process:
            for line in process.stdout or ():
                file.write(line)
                file.flush()
                for shown in progress(line) if progress else ():
                    say(f'  {title}: {shown}')
        with self._lock:
            self._running.discard(process)
            stopped = self._stopped
        if process.returncode:
            if not stopped:
                say_lines('\n'.join(log.read_text().splitlines()[-SHOWN_OF_A_FAILURE:]))
            raise CommandError(f'{title} failed, all of its output is in {log}')

    def run_all(self, tasks: Iterable[Callable[[], object]]) -> None:
        """Call functions that run commands, ``jobs`` of them at a time.

        The first failure ends the commands that run, and no further function is called; the runner
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

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        # Loader workers share the cores: threads that spin while they wait would starve them.
        environment = dict(os.environ, OMP_WAIT_POLICY='passive', OMP_NUM_THREADS=str(self.threads))
        with self._lock:
            if self._stopped:
                raise CommandError('not started: another command failed')
            process = subprocess.Popen(
                [sys.executable, '-u', *PROGRAM, *command],
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


def show_all(line: str) -> list[str]:
    """Show a line of the output as it is."""
    return [line.strip()]


class TrainingProgress:
    """What a training run has logged since it was last asked, and how long it will still take.

    Reads ``scalars.json``, to which MMEngine appends a line for every logged step and for the
    scores after an epoch.

    Args:
        work_dir: The run's folder.
        max_epochs: Epochs that the run is made of.
    """

    def __init__(self, work_dir: Path, max_epochs: int) -> None:
        self.work_dir, self.max_epochs = work_dir, max_epochs
        self._earlier = self._logs()
        self._read = 0
        self._started = time.monotonic()
        # The first epoch of the run, which is not 1 if it was resumed, and the one at work.
        self._first = self._epoch = 0
        self._epoch_began = 0  # its first logged step
        self._epoch_steps = 0

    def __call__(self, line: str = '') -> list[str]:
        """Return what is new, a line each; the output of the run itself is not looked at."""
        logs = self._logs() - self._earlier
        if not logs:
            return []
        with open(max(logs), 'rb') as file:
            file.seek(self._read)
            new = file.read()
        # The last line may be written at this moment.
        complete = new[: new.rfind(b'\n') + 1]
        self._read += len(complete)
        return [self._describe(json.loads(record)) for record in complete.splitlines()]

    def _logs(self) -> set[Path]:
        return set(self.work_dir.glob('*/vis_data/scalars.json'))

    def _describe(self, record: dict[str, float]) -> str:
        step = int(record['step'])
        if 'epoch' not in record:
            names = (('reid/mAP', 'mAP'), ('reid/rank1', 'Rank-1'))
            scores = [f'{title} {record[name]:.1f}' for name, title in names if name in record]
            return f'after epoch {step}: {", ".join(scores) or "scored"}'
        epoch = int(record['epoch'])
        if epoch > self._epoch:
            # The same step of every epoch is the first that is logged; the last one may not be.
            self._epoch_steps = step - self._epoch_began if self._epoch else 0
            self._first = self._first or epoch
            self._epoch, self._epoch_began = epoch, step
        text = f'epoch {epoch} of {self.max_epochs}, loss {record["loss"]:.3f}'
        if not self._epoch_steps:
            return text
        earlier = self._first - 1  # epochs of the run that was resumed
        done, total = step / self._epoch_steps - earlier, self.max_epochs - earlier
        return f'{text}, {time_left(done, total, time.monotonic() - self._started)}'
