"""Computes the tables of docs/gallery_at_scale.md from docs/benchmarks/gallery.csv.

    python docs/scripts/gallery_at_scale.py

The tables stand between comments of their names, and are written anew. Nothing in them was
measured at their sizes: each is a formula of the inputs that the page names.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from marked_tables import fill_page, make_table
from record_gallery import read_rows

PAGE = Path(__file__).resolve().parents[1] / 'gallery_at_scale.md'
# How pgvector 0.8 lays out an HNSW index: bytes of a page behind its head and foot, of the head of
# an element and of the list of its neighbors, of a neighbor, and of a line pointer.
PAGE_BYTES, USABLE, ELEMENT, NEIGHBORS, NEIGHBOR, POINTER = 8192, 8160, 72, 4, 6, 4
M, WIDTH = 16, 512
# Of 20,000 items of 512 numbers in half precision: the table, its other indexes, and the index
# itself, to compare; and how many fit into 16 MiB while it is made.
MEASURED_TABLE, MEASURED_OTHERS, MEASURED_HNSW = 23_592_960, 2_146_304, 27_320_320
MEASURED_ITEMS, ITEMS_IN_16_MIB = 20_000, 9_640
ONE_SERVER, CLUSTER, SHARD, COPIES = 10**7, 10**9, 10**7, 2
WIDTHS = (128, 256, 512, 768, 1024)


def hnsw_bytes(width: int, m: int = M, number: int = 2) -> float:
    """Bytes of an item in an HNSW index: whole items on each page, an element and its neighbors.

    Args:
        width: Numbers of a feature.
        m: Connections; twice as many on the lowest level, where most items are.
        number: Bytes of a number: 2 in half precision.
    """
    element = _aligned(ELEMENT + 8 + number * width) + _aligned(NEIGHBORS + 2 * m * NEIGHBOR)
    return PAGE_BYTES / (USABLE // (element + 2 * POINTER))


def _aligned(size: int) -> int:
    return -(-size // 8) * 8


def table_bytes(width: int) -> float:
    """Bytes of an item in the table and its other indexes: what was measured, and its numbers."""
    return (MEASURED_TABLE + MEASURED_OTHERS) / MEASURED_ITEMS + 2 * (width - WIDTH)


def build_bytes(width: int) -> float:
    """Bytes of an item while the index is made."""
    return (16 << 20) / ITEMS_IN_16_MIB + 2 * (width - WIDTH)


def measured(items: int) -> dict[str, float]:
    """The quiet run of pgvector of a size."""
    (row,) = (
        row
        for row in read_rows()
        if row['engine'] == 'pgvector' and row['quiet'] == 'yes' and int(row['items']) == items
    )
    return {name: float(value) for name, value in row.items() if re.fullmatch(r'[\d.]+', value)}


def extrapolate(items: int) -> dict[str, float]:
    """Time to build, candidates and time of a query, from 200,000 and 1,000,000 items."""
    small, large = measured(200_000), measured(1_000_000)
    work = {row['items']: row['items'] * math.log2(row['items']) for row in (small, large)}
    rates = [row['build_s'] / work[row['items']] for row in (small, large)]
    power = math.log(large['ef_search'] / small['ef_search']) / math.log(5)
    ef = large['ef_search'] * (items / large['items']) ** power
    # The steps of a search: candidates times the depth of the graph.
    steps = [row['ef_search'] * math.log2(row['items']) for row in (small, large)]
    wanted = ef * math.log2(items)
    times = [row['one_query_p50_ms'] for row in (small, large)]
    slope = (times[1] - times[0]) / (steps[1] - steps[0])
    return dict(
        rate_small=rates[0],
        rate_large=rates[1],
        build_s=rates[1] * items * math.log2(items),
        power=power,
        ef=ef,
        least_ms=times[1] + slope * (wanted - steps[1]),
        most_ms=times[1] * wanted / steps[1],
        factor=wanted / steps[1],
    )


def make_tables() -> dict[str, str]:
    """The tables of the page by their names."""
    at, large = extrapolate(ONE_SERVER), measured(1_000_000)
    per_item = table_bytes(WIDTH) + hnsw_bytes(WIDTH)
    shards = CLUSTER // SHARD
    tail = large['one_query_p99_ms'] * at['factor']
    return {
        'check': make_table(
            ('what', 'formula', 'measured'),
            [
                (
                    'HNSW index, bytes of an item, 20,000 x 512',
                    f'{hnsw_bytes(WIDTH):,.0f}',
                    f'{MEASURED_HNSW / MEASURED_ITEMS:,.0f}',
                ),
                (
                    'table with all indexes, MB, 1,000,000 x 512',
                    f'{per_item:,.0f}',
                    f'{large["disk_mb"]:,.0f}',
                ),
                (
                    'seconds to build / (n log2 n), 200,000 and 1,000,000',
                    'equal',
                    f'{at["rate_small"]:.2e} and {at["rate_large"]:.2e}',
                ),
            ],
        ),
        'widths': make_table(
            (
                'width',
                'HNSW index, GB of RAM',
                'table and other indexes, GB',
                'memory to make it, GB',
            ),
            [
                (
                    f'{width:,}',
                    _gigabytes(ONE_SERVER * hnsw_bytes(width)),
                    _gigabytes(ONE_SERVER * table_bytes(width)),
                    _gigabytes(ONE_SERVER * build_bytes(width)),
                )
                for width in WIDTHS
            ],
        ),
        'server': make_table(
            ('10,000,000 x 512, half precision', 'value', 'from'),
            [
                (
                    'disk',
                    f'{_gigabytes(ONE_SERVER * per_item)} GB',
                    'formula; twice that while `--erase` writes it anew',
                ),
                (
                    'memory that the index wants',
                    f'{_gigabytes(ONE_SERVER * hnsw_bytes(WIDTH))} GB',
                    'formula; `shared_buffers` above it',
                ),
                (
                    'memory to make the index',
                    f'{_gigabytes(ONE_SERVER * build_bytes(WIDTH))} GB',
                    '`build_memory`; with less it takes many times as long',
                ),
                (
                    'time to load and index, 2 cores',
                    f'{at["build_s"] / 3600:.1f} h',
                    'n log2 n, the rate at 1,000,000',
                ),
                (
                    'candidates of a search (`ef_search`)',
                    f'{at["ef"]:.0f}',
                    f'30 at 200,000 and 80 at 1,000,000: items to the power of {at["power"]:.2f}',
                ),
                (
                    'one query, median',
                    f'{at["least_ms"]:.0f} to {at["most_ms"]:.0f} ms',
                    'straight line through both sizes; all time grows with candidates x log2 n',
                ),
            ],
        ),
        'cluster': make_table(
            ('1,000,000,000 x 512, half precision', f'{shards} shards of 10,000,000', 'from'),
            [
                (
                    'memory, one copy of each shard',
                    f'{CLUSTER * hnsw_bytes(WIDTH) / 1e12:.1f} TB',
                    'formula',
                ),
                (
                    f'disk, {COPIES} copies of each shard',
                    f'{COPIES * CLUSTER * per_item / 1e12:.1f} TB',
                    'formula',
                ),
                (
                    'machines of 64 GB, one copy',
                    f'{math.ceil(CLUSTER * hnsw_bytes(WIDTH) / 48e9)}',
                    '48 GB of each for indexes',
                ),
                (
                    'one query',
                    f'{tail:.0f} ms or less for {100 * 0.99**shards:.0f}% of them',
                    'the slowest shard counts: the 99th percentile of one, at its most',
                ),
                (
                    'network, one query',
                    f'{shards * 10 * 24 / 1e3:.0f} kB of ids and distances',
                    'ten answers of each shard',
                ),
                (
                    'time to load and index, all shards at once',
                    f'{at["build_s"] / 3600:.1f} h',
                    '2 cores for each shard',
                ),
                (
                    'additions to a finished index',
                    f'{shards * large["added_per_s"]:,.0f}/s',
                    f'{large["added_per_s"]:.0f}/s measured at one, on 2 cores, beside searches',
                ),
            ],
        ),
        'narrow': make_table(
            ('1,000,000,000 items', 'memory of all shards, TB'),
            [
                (
                    f'HNSW, half precision, {width} numbers',
                    f'{CLUSTER * hnsw_bytes(width) / 1e12:.2f}',
                )
                for width in WIDTHS[:3]
            ]
            + [
                (f'codes alone, {kind}, {width} numbers', f'{CLUSTER * width * size / 1e12:.3f}')
                for kind, size in (('int8', 1.0), ('binary', 1 / 8))
                for width in (128, 512)
            ],
        ),
    }


def _gigabytes(size: float) -> str:
    return f'{size / 1e9:.1f}'


def fill(page: str) -> str:
    """Put the tables into the text of the page."""
    return fill_page(page, make_tables())


if __name__ == '__main__':
    PAGE.write_text(fill(PAGE.read_text()))
