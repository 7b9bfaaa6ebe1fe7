"""Runs work in a process of its own that ends in time, whatever the work does."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from fusionreid.cli.environment_errors import describe_environment_error
from fusionreid.errors import UserError

DONE, FAILED, TIMED_OUT, KILLED = 'done', 'failed', 'timed out', 'killed'
# What work needs is imported once; each process is a copy of the one that has it.
# What the interpreter writes before the place where a process crashed or hung.
PLACE = '(most recent call first):'
LINES_OF_A_LOG = 6
PRELOADED = (
    'fusionreid.cli.benchmarks.extract',
    'fusionreid.cli.benchmarks.exactness',
    'fusionreid.visualization',
)
# Seconds that a process gets to end by itself after its last word, and to outlive its parent.
GRACE = 5.0

Work = Callable[[], Iterable[dict[str, Any]]]


@dataclass
class Outcome:
    """What came of bounded work.

    Attributes:
        status: ``'done'``, ``'failed'`` (an exception), ``'timed out'`` or ``'killed'``.
        seconds: How long it took.
        records: What it gave, until its end.
        reason: Why it is not done, in a line.
        log: What it printed last, or where it crashed or hung, if it is not done.
    """

    status: str
    seconds: float
    records: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ''
    log: str = ''


def bounded_context() -> Any:
    """A context of multiprocessing whose processes have imported what benchmarks need."""
    # Threads that spin while they wait would starve the workers of a loader.
    os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
    # What a killed process leaves behind is tidied up without a word.
    os.environ.setdefault('PYTHONWARNINGS', 'ignore:resource_tracker')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(list(PRELOADED))
    # Imports while the caller prepares.
    forkserver.ensure_running()
    return context


def run_bounded(context: Any, work: Work, log: Path, limit: float) -> Outcome:
    """Run work in a process of its own.

    An exception, a crash, a hang, or being killed for its memory ends the work alone. What it has
    given before stays. Whatever processes it has started end with it.

    Args:
        context: Of multiprocessing, from :func:`bounded_context`.
        work: What to run; it must be picklable.
        log: File for what it prints, with the traceback of where it failed or hung.
        limit: Seconds that it may take, above 0.

    Returns:
        What came of it.
    """
    log.write_bytes(b'')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_be, args=(work, log, sender, limit))
    start = time.monotonic()
    process.start()
    sender.close()
    outcome = Outcome(TIMED_OUT, 0.0, reason=f'it was given {limit:.0f} s')
    try:
        _listen(receiver, process.sentinel, outcome, start + limit)
        if outcome.status != TIMED_OUT:
            process.join(GRACE)
        if outcome.status == KILLED:
            outcome.reason = _describe_exit(process.exitcode)
    finally:
        _end(process)
        receiver.close()
    outcome.seconds = time.monotonic() - start
    if outcome.status != DONE:
        outcome.log = _last_lines(log.read_text(encoding='utf-8', errors='replace'))
    return outcome


def _last_lines(text: str) -> str:
    before, place, after = text.rpartition(PLACE)
    if place:
        return '\n'.join(after.strip('\n').splitlines()[:LINES_OF_A_LOG])
    return '\n'.join(text.splitlines()[-LINES_OF_A_LOG:])


def _listen(receiver: Connection, sentinel: int, outcome: Outcome, end: float) -> None:
    """Take in what the process says until its last word, or until its time is over."""
    kind: str
    content: Any
    while ready := wait([receiver, sentinel], max(0.0, end - time.monotonic())):
        try:
            # What it has started may hold the pipe open when it is gone.
            kind, content = receiver.recv() if receiver in ready else (KILLED, '')
        except EOFError:
            kind, content = KILLED, ''
        if kind == 'record':
            outcome.records.append(content)
            continue
        outcome.status, outcome.reason = kind, content
        return


def _describe_exit(code: int | None) -> str:
    if code is None or code >= 0:
        return f'it ended without a result, with the exit status {code}'
    name = signal.Signals(-code).name
    memory = ', as the system does when memory runs out' if name == 'SIGKILL' else ''
    return f'it was ended by {name}{memory}'


def _end(process: Any) -> None:
    """End a process and those that it has started."""
    # It leads a group of its own; one that has just begun may not yet.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.exitcode is None:
        process.kill()
    process.join(GRACE)


def _be(work: Work, log: Path, sender: Connection, limit: float) -> None:
    """Do the work, and say what came of it."""
    os.setsid()
    with (
        log.open('w', buffering=1, encoding='utf-8') as file,
        redirect_stdout(file),
        redirect_stderr(file),
    ):
        # Libraries and processes write past Python's streams.
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        # Even if nobody is there any more to end this process.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, limit + GRACE)
        faulthandler.enable(file)
        faulthandler.dump_traceback_later(max(0.1, limit - 0.5), file=file)
        try:
            for record in work():
                sender.send(('record', record))
        except Exception as error:
            traceback.print_exc()
            line = str(error) if isinstance(error, UserError) else describe_environment_error(error)
            reason = line or f'{type(error).__name__}: {error}'
            sender.send((FAILED, ' '.join(reason.split())[:500]))
        else:
            sender.send((DONE, ''))
        faulthandler.cancel_dump_traceback_later()
