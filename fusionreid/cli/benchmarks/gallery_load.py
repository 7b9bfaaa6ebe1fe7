"""Searches of a gallery in a database while others add to it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionreid.gallery import Gallery

ADDED_ROWS = 100
QUANTILES = (50, 95, 99)
# Seconds for the processes to begin.
START = 1.0


def measure_load(
    settings: dict[str, Any],
    queries: Tensor,
    k: int,
    writers: int,
    readers: int,
    seconds: float,
) -> dict[str, Any]:
    """Let processes add to a gallery while others search it, one query at a time.

    Args:
        settings: Of the engine, which keeps the gallery itself.
        queries: Features (Q, D) to search for; what is added is near to them.
        k: Answers for each.
        writers: Processes that add, a hundred items at a time.
        readers: Processes that search.
        seconds: How long.

    Returns:
        Rates, and quantiles of the milliseconds that an addition and a search take, and how many
        of the items that were added are missing in the end.
    """
    before = len(Gallery(engine=settings))
    fresh = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(writers + readers, mp_context=fresh) as pool:
        # Each has loaded its libraries before the first one begins.
        list(pool.map(_wait, [START] * (writers + readers)))
        begin = time.time() + START
        adding = [
            pool.submit(_add, settings, queries, number, begin, seconds)
            for number in range(writers)
        ]
        searching = [
            pool.submit(_search, settings, queries, k, number, begin, seconds)
            for number in range(readers)
        ]
        added = [took for future in adding for took in future.result()]
        searched = [took for future in searching for took in future.result()]
    missing = before + ADDED_ROWS * len(added) - len(Gallery(engine=settings))
    return dict(
        writers=writers,
        readers=readers,
        seconds=seconds,
        searches_per_second=round(len(searched) / seconds, 1),
        search_ms=quantiles(searched),
        items_added_per_second=round(ADDED_ROWS * len(added) / seconds, 1),
        add_ms=quantiles(added),
        items_missing=missing,
    )


def quantiles(took: Sequence[float]) -> dict[str, float]:
    """Median and high quantiles of seconds, in milliseconds.

    Args:
        took: Seconds; none give none.

    Example:
        >>> quantiles([0.001, 0.002, 0.003])
        {'p50': 2.0, 'p95': 2.9, 'p99': 2.98}
    """
    if not took:
        return {}
    return {f'p{q}': round(1000 * float(np.percentile(took, q)), 2) for q in QUANTILES}


def _wait(seconds: float) -> None:
    torch.set_num_threads(1)
    time.sleep(seconds)


def _add(
    settings: dict[str, Any], queries: Tensor, number: int, begin: float, seconds: float
) -> list[float]:
    gallery, random = Gallery(engine=settings), torch.Generator().manual_seed(number)
    time.sleep(max(0, begin - time.time()))
    took: list[float] = []
    while time.time() < begin + seconds:
        rows = queries[torch.randint(len(queries), (ADDED_ROWS,), generator=random)]
        rows = rows + 0.3 * rows.std() * torch.randn(rows.shape, generator=random)
        ids = [f'load-{number}-{len(took)}-{row}' for row in range(ADDED_ROWS)]
        start = time.perf_counter()
        gallery.add(features=rows, ids=ids)
        took.append(time.perf_counter() - start)
    return took


def _search(
    settings: dict[str, Any], queries: Tensor, k: int, number: int, begin: float, seconds: float
) -> list[float]:
    gallery = Gallery(engine=settings)
    gallery.search(queries[:1], k)
    time.sleep(max(0, begin - time.time()))
    took: list[float] = []
    while time.time() < begin + seconds:
        query = queries[(number * 97 + len(took)) % len(queries)]
        start = time.perf_counter()
        gallery.search(query, k)
        took.append(time.perf_counter() - start)
    return took
