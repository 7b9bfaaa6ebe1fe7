"""Decides how many threads work, and gives each of them whole pieces of work.

That is faster than to share every small step among all threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import torch

# Beyond these the interpreter lock is the limit.
MAX_WORKERS = 8


def worker_count(device: torch.device) -> int:
    """Tell how many threads are worth using.

    Args:
        device: Where the work is done.

    Returns:
        The number of threads; 1 unless the device is the CPU.
    """
    return min(torch.get_num_threads(), MAX_WORKERS) if device.type == 'cpu' else 1


@contextmanager
def start_workers(count: int) -> Iterator[Callable[[Callable[[Any], None], Iterable[Any]], None]]:
    """Start threads whose tensor operations use one core each.

    Many small tensor operations, each shared by all cores, spend their time waiting for the slowest
    core; pieces of work that run side by side do not wait for each other.

    Args:
        count: Number of threads; with one, everything runs in the caller's.

    Yields:
        ``run(function, items)``, which calls the function for each item and returns when all are
        done.
    """
    if count == 1:

        def run_here(function: Callable[[Any], None], items: Iterable[Any]) -> None:
            for item in items:
                function(item)

        yield run_here
        return

    threads = torch.get_num_threads()
    barrier = Barrier(count)

    def prepare(_: int) -> None:
        torch.set_num_threads(1)
        barrier.wait()

    with ThreadPoolExecutor(count, thread_name_prefix='reid') as pool:
        try:
            list(pool.map(prepare, range(count)))
        except BaseException:  # a thread that could not start: the others must not wait for it
            barrier.abort()
            raise
        # The setting belongs to a thread, but the one of the matrix library is everybody's.
        torch.set_num_threads(threads)

        def run(function: Callable[[Any], None], items: Iterable[Any]) -> None:
            for _ in pool.map(function, items):
                pass

        yield run
