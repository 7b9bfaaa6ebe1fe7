"""Compare two reports of benchmarks: what became slower, by more than its noise?

    fusionreid benchmark compare-reports REPORT_BEFORE REPORT_AFTER

The reports are folders of ``fusionreid benchmark report``. A figure is worse if it differs by more
than its repeats do in both reports together; one without repeats is taken to vary by 15%. Ends with
status 1 if a figure is worse, or a value is no longer what it should be.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fusionreid.utils.tables import format_table
from fusionreid.utils.terminal import say, say_lines

from .reporting.comparison import SLOWER, WRONG, compare_reports
from .reporting.report_file import Report, load_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('before', type=Path, help='folder of the first report')
    parser.add_argument('after', type=Path, help='folder of the second')
    parser.add_argument('--all', action='store_true', help='also show what did not change')


def run(args: argparse.Namespace) -> int:
    """Print the ratios; 1 if something is worse, else 0."""
    before, after = load_report(args.before), load_report(args.after)
    changes, left_out = compare_reports(before, after)
    say(f'before: {_describe(before)}')
    say(f'after:  {_describe(after)}')
    if before.computer != after.computer:
        say('these are two machines: ratios say nothing about the code')
    head = ('step', 'figure', 'before', 'after', 'ratio', 'noise', 'verdict')
    rows = [
        (
            change.after.step,
            ' '.join(part for part in (change.after.label, change.after.kind.key) if part),
            f'{change.before.value:.4g}',
            f'{change.after.value:.4g}',
            '-' if change.ratio is None else f'{change.ratio:.2f}',
            f'{change.noise:.0%}' if change.after.kind.better else '-',
            change.verdict,
        )
        for change in changes
        if args.all or change.verdict
    ]
    if rows:
        say_lines(format_table([head, *rows], rule=True))
    for line in left_out:
        say(line)
    worse = sum(change.verdict in (SLOWER, WRONG) for change in changes)
    say(f'{len(changes)} figures were compared, {worse} of them are worse')
    return 1 if worse else 0


def _describe(report: Report) -> str:
    return f'{report.computer}, {report.date}, commit {report.commit or report.version}'
