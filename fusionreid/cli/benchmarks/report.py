"""Measure this machine: exactness, speed and memory of everything, on one page, in a given time.

    fusionreid benchmark report --device cpu --minutes 7
    fusionreid benchmark report --device cuda --out REPORT_DIR

Steps run in the order of their worth, each in a process of its own that ends in time; one that
fails, hangs or is killed ends alone. After each of them OUT holds ``report.json``, ``report.md``
(the page) and ``report.csv``. Called again with the same OUT the command goes on with what is
missing.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

from joblib import cpu_count

from fusionreid.errors import ConfigError
from fusionreid.utils.csv_table import write_csv
from fusionreid.utils.device import find_device
from fusionreid.utils.durations import describe_duration
from fusionreid.utils.files import open_atomic
from fusionreid.utils.machine import processor_name
from fusionreid.utils.terminal import say
from fusionreid.version import __version__

from ..folder_lock import LOCK, locked
from ..output_file import clear_links
from .reporting.bounded import DONE, Outcome, Work, bounded_context, run_bounded
from .reporting.figures import COLUMNS, as_rows
from .reporting.page import LOG, PICTURE, write_page
from .reporting.report_file import FILE, Report, StepResult, describe_commit, load_report
from .reporting.steps import Step, measure_command, plan_steps

CONFIG = 'fusionreid_vitb_r50_market1501'
PAGE, TABLE = 'report.md', 'report.csv'
# What the step that runs has printed so far.
PART = 'step.log'
# Seconds that are kept for the start, and for the picture.
START, DRAWING = 5.0, 10.0
TERMINATED = 143


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('--device', default='cpu', help='cpu, cuda or cuda:1 (default: cpu)')
    parser.add_argument(
        '--out',
        type=Path,
        help='folder of the report (default: one below work_dirs/reports that names date, device '
        'and commit)',
    )
    parser.add_argument(
        '--minutes', type=float, default=7.0, help='all of it takes no longer (default: 7)'
    )
    parser.add_argument(
        '--config', default=CONFIG, help='model that is trained (default: %(default)s)'
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        help='images of a training step; twice as many are extracted (default: 128 on a GPU, 4 on '
        'a CPU)',
    )


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse a time in which nothing can be done, and a batch without images."""
    if not 0.5 <= args.minutes <= 24 * 60:
        parser.error(f'--minutes must be from 0.5 to 1440, got {args.minutes:g}')
    if args.batch_size is not None and args.batch_size < 1:
        parser.error(f'--batch-size must be at least 1, got {args.batch_size}')


def run(args: argparse.Namespace) -> int:
    """Measure step by step; 1 if a step failed, else 0."""
    end = time.monotonic() + 60 * args.minutes - START - DRAWING
    find_device(args.device)
    steps = plan_steps(args.device, args.config, args.batch_size)
    report = new_report(args, steps)
    folder = args.out or default_folder(report)
    report = continue_report(report, folder)
    with locked(folder, '--out', 'report'), terminated_as_exit():
        left = [step for step, result in zip(steps, report.steps, strict=True) if not_done(result)]
        if not left:
            say(f'{folder} is complete; choose another --out to measure again')
            return 0
        context = bounded_context()
        clear_links(folder, FILE, PAGE, TABLE, PICTURE, LOG, PART)
        write(report, folder)
        for number, step in enumerate(left, 1):
            result = next(each for each in report.steps if each.name == step.name)
            run_step(context, step, result, folder, end, f'[{number}/{len(left)}]')
            write(report, folder)
        work = partial(draw, report, folder / PICTURE)
        drawn = run_logged(context, 'picture', work, folder, DRAWING)
        if drawn.status != DONE:
            say(f'the picture could not be drawn: {drawn.reason}')
        write(report, folder)
    say(folder / PAGE)
    return 1 if any(step.failed for step in report.steps) else 0


def not_done(result: StepResult) -> bool:
    """Whether a step is still to be measured."""
    return result.status != DONE


def new_report(args: argparse.Namespace, steps: list[Step]) -> Report:
    """Begin a report.

    Args:
        args: Arguments of the command.
        steps: Its steps.

    Returns:
        The report, in which nothing was run.
    """
    return Report(
        device=args.device,
        version=__version__,
        commit=describe_commit(),
        torch=version('torch'),
        processor=processor_name(),
        load=os.getloadavg()[0] / cpu_count(),
        date=datetime.now().isoformat(' ', 'minutes'),
        steps=[
            StepResult(step.name, step.title, list(step.argv), reason='it was not reached')
            for step in steps
        ],
    )


def default_folder(report: Report) -> Path:
    """Name the folder of a report by date, device and commit."""
    parts = (report.date[:10], report.device.replace(':', ''), report.commit or report.version)
    return Path('work_dirs/reports') / '_'.join(parts)


def continue_report(report: Report, folder: Path) -> Report:
    """Take up the report of a folder, if it holds one.

    Args:
        report: One that would be begun.
        folder: The folder.

    Returns:
        The report of the folder, or the new one.

    Raises:
        ConfigError: If the folder holds a report of something else, or other files.
    """
    if not folder.is_dir():
        return report
    if not (folder / FILE).exists():
        strange = sorted(path.name for path in folder.iterdir() if path.name != LOCK)
        if strange:
            raise ConfigError(
                f'{folder} holds {strange[0]} and no report: choose another --out, or a new folder'
            )
        return report
    known = load_report(folder)
    for name in ('processor', 'device', 'commit', 'version', 'torch'):
        before, now = getattr(known, name), getattr(report, name)
        if before != now:
            raise ConfigError(
                f'{folder} holds a report of {name} {before!r}, this one is of {now!r}: choose '
                'another --out'
            )
    if [step.argv for step in known.steps] != [step.argv for step in report.steps]:
        raise ConfigError(
            f'{folder} holds a report with other steps, model or batch size: choose another --out'
        )
    return known


def run_step(
    context: Any, step: Step, result: StepResult, folder: Path, end: float, number: str
) -> None:
    """Measure a step, if there is time for it.

    Args:
        context: What starts its process.
        step: The step.
        result: Where what came of it goes.
        folder: Folder of the report.
        end: When it must be over, by the monotonic clock.
        number: What the shown line begins with.
    """
    left = max(0.0, end - time.monotonic())
    reason = step.lacks
    if left < step.seconds:
        reason = reason or f'it needs about {step.seconds:.0f} s, and {left:.0f} s were left'
    if reason:
        say(f'{number} {step.title}: not run, {reason}')
        if not result.failed:
            result.reason = reason
        return
    say(f'{number} {step.title}: about {step.seconds:.0f} s; {describe_duration(left)} left')
    work = partial(measure_command, step.argv)
    outcome = run_logged(context, step.name, work, folder, min(step.limit, left))
    for name, value in asdict(outcome).items():
        setattr(result, name, value)
    result.date = datetime.now().isoformat(' ', 'seconds')
    what = outcome.status if outcome.status == DONE else f'{outcome.status}: {outcome.reason}'
    say(f'      {what} ({outcome.seconds:.0f} s)')


def run_logged(context: Any, name: str, work: Work, folder: Path, limit: float) -> Outcome:
    """Run work in a process of its own, and add what it prints to the log of the report.

    Args:
        context: What starts its process.
        name: Its name.
        work: What to run.
        folder: Folder of the report.
        limit: Seconds that it may take.

    Returns:
        What came of it.
    """
    part = folder / PART
    outcome = run_bounded(context, work, part, limit)
    with (folder / LOG).open('ab') as log:
        log.write(f'== {name}: {outcome.status}\n'.encode() + part.read_bytes())
    part.unlink()
    return outcome


def write(report: Report, folder: Path) -> None:
    """Write the report, its page and its table into its folder.

    Args:
        report: The report.
        folder: The folder.
    """
    report.save(folder)
    with open_atomic(folder / PAGE) as file:
        file.write(write_page(report, folder).encode())
    with open_atomic(folder / TABLE) as file:
        file.write(write_csv([COLUMNS, *as_rows(report)]))


def draw(report: Report, path: Path) -> list[dict[str, Any]]:
    """Draw the picture of a report.

    Args:
        report: The report.
        path: The picture.

    Returns:
        Its bars.
    """
    # Needs libraries that the process which waits for the steps shall not load.
    from .reporting.picture import draw_picture

    return draw_picture(report, path)


@contextmanager
def terminated_as_exit() -> Iterator[None]:
    """Leave by an exception where SIGTERM comes, so that no step goes on alone.

    Yields:
        None; the work belongs inside.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
