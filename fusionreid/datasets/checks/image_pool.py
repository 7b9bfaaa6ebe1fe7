"""Looking at many images in parallel, whatever an image does to the process that decodes it."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import torch

from .image_facts import ImageFacts, inspect_image

CHUNK = 16  # images that a worker gets at once
AHEAD = 3  # chunks for each worker that are under way, so that memory does not grow
DIED = ImageFacts((('cannot be decoded', 'the process that decodes it is killed by it'),))

Inspect = Callable[[str], ImageFacts]


def inspect_images(
    paths: Sequence[str], workers: int, inspect: Inspect = inspect_image
) -> Iterator[tuple[int, ImageFacts]]:
    """Look at images in worker processes.

    When a worker dies, as for lack of memory, the images that were under way are looked at once
    more, one at a time. An image that kills its worker again is reported as one that cannot be
    decoded.

    Args:
        paths: The images.
        workers: Processes; 0 looks at the images in this process.
        inspect: Function of a path that can be pickled.

    Yields:
        Position and facts of each image, in any order.
    """
    if not workers:
        yield from ((position, inspect(path)) for position, path in enumerate(paths))
        return
    positions = range(len(paths))
    chunks = deque(list(positions[start : start + CHUNK]) for start in range(0, len(paths), CHUNK))
    while chunks:
        lost: list[list[int]] = []
        yield from _run(paths, chunks, workers, inspect, lost)
        alone = deque([position] for chunk in lost for position in chunk)
        while alone:
            killed: list[list[int]] = []
            yield from _run(paths, alone, 1, inspect, killed, ahead=1)
            yield from ((position, DIED) for (position,) in killed)


def _run(
    paths: Sequence[str],
    chunks: deque[list[int]],
    workers: int,
    inspect: Inspect,
    lost: list[list[int]],
    ahead: int = AHEAD,
) -> Iterator[tuple[int, ImageFacts]]:
    """Work through chunks until they are done or a worker dies.

    Args:
        paths: The images.
        chunks: Positions of images; what is begun is taken from here.
        workers: Processes.
        inspect: Function of a path.
        lost: Gets the chunks that were under way when a worker died.
        ahead: Chunks for each worker that are under way.

    Yields:
        Position and facts of each image.
    """
    # A forked process has everything imported. Without fork, workers take some seconds to start.
    method = 'fork' if sys.platform == 'linux' else None
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(workers, context, _start_worker)
    running: dict[Future[list[ImageFacts]], list[int]] = {}
    try:
        while chunks or running:
            while chunks and len(running) < ahead * workers:
                chunk = chunks[0]
                future = pool.submit(_inspect_chunk, inspect, [paths[place] for place in chunk])
                running[future] = chunks.popleft()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                facts = future.result()
                yield from zip(running.pop(future), facts, strict=True)
    except BrokenProcessPool:
        lost += running.values()
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    # An interrupt is the main process's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _inspect_chunk(inspect: Inspect, paths: list[str]) -> list[ImageFacts]:
    return [inspect(path) for path in paths]
