"""Adds a report of a machine to docs/benchmarks/report.csv, and the table of docs/benchmarks.md.

    python docs/scripts/record_report.py REPORT_DIR --quiet yes

The table shows the latest quiet run of each machine and device.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

from marked_tables import fill_page, make_table

from fusionreid.cli.benchmarks.reporting.figures import COLUMNS, as_rows
from fusionreid.cli.benchmarks.reporting.report_file import load_report

DOCS = Path(__file__).resolve().parents[1]
PAGE, TABLE = DOCS / 'benchmarks.md', DOCS / 'benchmarks' / 'report.csv'
QUIET = 'quiet'
Row = dict[str, str]


def read_rows() -> list[Row]:
    """The rows of the file; none if there is no file."""
    if not TABLE.exists():
        return []
    with TABLE.open(newline='') as file:
        return list(csv.DictReader(file))


def add_report(folder: Path, quiet: str) -> None:
    """Add the figures of a report; those of the same machine, commit and time are replaced.

    Args:
        folder: Folder of the report.
        quiet: ``'yes'`` if nothing else ran meanwhile.
    """
    new = [
        {**dict(zip(COLUMNS, map(str, row), strict=True)), QUIET: quiet}
        for row in as_rows(load_report(folder))
    ]
    keys = {_key(row) for row in new}
    kept = [row for row in read_rows() if _key(row) not in keys]
    with TABLE.open('w', newline='') as file:
        writer = csv.DictWriter(file, [*COLUMNS, QUIET], lineterminator='\n')
        writer.writeheader()
        writer.writerows([*kept, *new])


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in ('date', 'machine', 'device', 'step', 'label', 'figure'))


def latest(rows: list[Row]) -> Iterator[tuple[Row, list[Row]]]:
    """The latest quiet run of each machine and device.

    Yields:
        A row that names the run, and its rows.
    """
    runs: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows:
        if row[QUIET] == 'yes':
            by_commit = runs.setdefault((row['machine'], row['device']), {})
            by_commit.setdefault(row['commit'], []).append(row)
    for by_commit in runs.values():
        newest = max(by_commit.values(), key=lambda run: max(row['date'] for row in run))
        yield newest[0], newest


def make_tables() -> dict[str, str]:
    """The table of the page by its name."""
    parts = []
    for first, run in latest(read_rows()):
        head = f'{first["machine"]}, `{first["device"]}`, {first["date"][:10]}, PyTorch '
        parts.append(f'{head}{first["torch"]}, commit {first["commit"]}:')
        parts.append(make_table(('step', 'value', 'least to most', 'repeats'), _lines(run)))
    return {'report': '\n\n'.join(parts) or 'No report has been recorded yet.'}


def _lines(run: list[Row]) -> Iterator[tuple[str, ...]]:
    for row in run:
        if row['figure'] in ('images_per_s', 'seconds'):
            name = f'{row["step"]} {row["label"]}'.strip()
            span = f'{float(row["least"]):.4g} to {float(row["most"]):.4g}'
            value = f'{float(row["value"]):.4g} {row["unit"]}'
            yield name, value, span if row['repeats'] != '1' else '', row['repeats']
    deviations: dict[str, float] = {}
    for row in run:
        if row['figure'] == 'deviation' and row['label'].endswith('fp32'):
            deviations[row['step']] = max(deviations.get(row['step'], 0.0), float(row['value']))
    for step, largest in deviations.items():
        yield f'{step}, largest deviation in fp32', f'{largest:.1e}', '', ''


def main() -> None:
    """Add the report, and write the table anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='folder of fusionreid benchmark report')
    parser.add_argument('--quiet', choices=('yes', 'no'), required=True, help='nothing else ran')
    args = parser.parse_args()
    add_report(args.folder, args.quiet)
    PAGE.write_text(fill_page(PAGE.read_text(), make_tables()))


if __name__ == '__main__':
    main()
