"""Adds what ``fusionreid benchmark gallery`` printed to docs/benchmarks/gallery.csv.

python docs/scripts/record_gallery.py --command COMMAND --machine CORES --quiet yes < PRINTED
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

TABLE = Path(__file__).resolve().parents[1] / 'benchmarks' / 'gallery.csv'
# What a line of the benchmark says by other names, or deeper.
MEASURED = dict(
    engine='engine',
    items='size',
    width='dim',
    build_s='build_seconds',
    queries_per_s='queries_per_second',
    one_query_mean_ms='one_query_ms',
    one_query_p50_ms='one_query_ms_quantiles.p50',
    one_query_p95_ms='one_query_ms_quantiles.p95',
    one_query_p99_ms='one_query_ms_quantiles.p99',
    recall_of_items='recall_at_10',
    recall_of_new_queries='recall_at_10_of_queries',
    memory_mib='peak_memory_mib',
    ef_search='tuning.ef_search',
    writers='load.writers',
    readers='load.readers',
    searches_per_s='load.searches_per_second',
    search_p50_ms='load.search_ms.p50',
    search_p95_ms='load.search_ms.p95',
    search_p99_ms='load.search_ms.p99',
    added_per_s='load.items_added_per_second',
    add_p50_ms='load.add_ms.p50',
    items_missing='load.items_missing',
)
COLUMNS = ('date', 'machine', 'quiet', *MEASURED, 'disk_mb', 'command')


def as_row(line: dict[str, Any], **known: str) -> dict[str, Any]:
    """Flatten a line of the benchmark.

    Args:
        line: The line, read.
        **known: What it does not say: date, machine, quiet and command.

    Returns:
        A row of the table; what was not measured is empty.
    """
    row: dict[str, Any] = {'disk_mb': round(line['index_bytes'] / 1e6, 1), **known}
    for column, path in MEASURED.items():
        value: Any = line
        for part in path.split('.'):
            value = (value or {}).get(part)
        row[column] = value
    return row


def read_rows() -> list[dict[str, str]]:
    """The rows of the table; none if there is no table."""
    if not TABLE.exists():
        return []
    with TABLE.open(newline='') as file:
        return list(csv.DictReader(file))


def write_rows(rows: Iterable[dict[str, Any]]) -> None:
    """Write the table."""
    with TABLE.open('w', newline='') as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Read lines of JSON, and append them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--command', required=True, help='what printed the lines')
    parser.add_argument('--machine', required=True, help='processor and number of cores')
    parser.add_argument('--quiet', choices=('yes', 'no'), required=True, help='nothing else ran')
    parser.add_argument('--date', default=date.today().isoformat())
    known = vars(parser.parse_args())
    lines = [json.loads(line) for line in sys.stdin if line.startswith('{')]
    write_rows([*read_rows(), *(as_row(line, **known) for line in lines)])


if __name__ == '__main__':
    main()
