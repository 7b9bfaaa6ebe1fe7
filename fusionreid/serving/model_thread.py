"""The one thread that computes, and the bounded queue before it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from .refusals import RefusedError

T = TypeVar('T')
# How much of the mean duration the last job makes up.
NEWEST = 0.2


class ModelThread:
    """Runs one function at a time, in the order of the requests.

    A request takes its place before its images are read, so that the memory of what waits is
    bounded. One that gives up leaves the queue at once; what runs already is run to its end, and
    nothing else meanwhile.

    Args:
        places: Requests that may wait or be computed at once.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self.taken = 0
        self._seconds = 1.0
        self._turn = asyncio.Lock()
        self._pool = ThreadPoolExecutor(1, 'model')

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places.

        Raises:
            RefusedError: All are taken (503); it says after which time one may be free.
        """
        if self.taken >= self.places:
            raise RefusedError(
                503,
                f'{self.places} requests are waiting already: try again later',
                retry_after=max(1, math.ceil(self.taken * self._seconds)),
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def run(self, function: Callable[[], T]) -> T:
        """Wait for the thread, and run a function on it.

        Args:
            function: What to run.

        Returns:
            What it returns.
        """
        await self._turn.acquire()
        loop = asyncio.get_running_loop()
        start = time.monotonic()
        job = self._pool.submit(function)

        def finish(_: object) -> None:
            self._seconds += NEWEST * (time.monotonic() - start - self._seconds)
            loop.call_soon_threadsafe(self._turn.release)

        job.add_done_callback(finish)
        return await asyncio.shield(asyncio.wrap_future(job))

    def close(self) -> None:
        """Wait for what runs, and end the thread."""
        self._pool.shutdown()
