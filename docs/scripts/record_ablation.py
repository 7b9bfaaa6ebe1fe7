"""Adds the runs of an ablation to a table below docs/benchmarks.

    python docs/scripts/record_ablation.py docs/benchmarks/harder_world.csv FOLDER --setting NAME

FOLDER is one of ``fusionreid ablate``, whose runs may still be going on. Rows of the same setting
that the table has already are replaced.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from fusionreid.cli.ablation_results import per_run_rows
from fusionreid.utils.files import atomic_path


def main() -> None:
    """Read the results and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('table', type=Path, help='CSV file')
    parser.add_argument('folder', type=Path, help='of fusionreid ablate')
    parser.add_argument('--setting', required=True, help='what the models were trained on')
    args = parser.parse_args()
    files = sorted(args.folder.glob('*/seed*/result.json'))
    if not files:
        parser.error(f'{args.folder} holds no finished run of an ablation')
    rows = [list(map(str, row)) for row in per_run_rows(files)]
    head, *new = [['setting', *rows[0]], *([args.setting, *row] for row in rows[1:])]
    if args.table.exists():
        with args.table.open(newline='') as file:
            _, *kept = csv.reader(file)
        new = [row for row in kept if row[0] != args.setting] + new
    with atomic_path(args.table) as path, path.open('w', newline='') as target:
        csv.writer(target, lineterminator='\n').writerows([head, *new])


if __name__ == '__main__':
    main()
