"""Who keeps the others waiting: what each process of a training has reached, compared."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Progress:
    """What a process has reached.

    Attributes:
        collectives: Collectives that it has entered, 0 or more; -1 before it has joined the others.
            All processes enter the same ones, so the smaller number is behind.
        marks: Points of its own work that it has passed, 0 or more. They differ between processes;
            a change says that it works.
        work: Long work that it has declared and is at, such as scoring; empty if none.
    """

    collectives: int = -1
    marks: int = 0
    work: str = ''

    def to_json(self) -> str:
        """Write it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Progress:
        """Read what :meth:`to_json` wrote."""
        return cls(**json.loads(text))


def find_stuck(
    reached: dict[int, Progress], idle: float, timeout: float, long_timeout: float
) -> tuple[list[int], float]:
    """Find the processes that are behind, when nothing has changed for too long.

    A process is behind if no other has entered fewer collectives, and some have entered more: these
    wait for it. Processes that are all as far as each other are slow together, and nobody is stuck.

    Args:
        reached: What each process has reached, by rank.
        idle: Seconds since the last change of any of them.
        timeout: How many such seconds a process may be behind.
        long_timeout: The same for one that has declared long work.

    Returns:
        Ranks of the stuck processes, ascending, and the limit that they have passed. No ranks if
        there is none, or not all processes have joined.

    Example:
        >>> find_stuck({0: Progress(8, 5), 1: Progress(7, 4)}, 10, timeout=6, long_timeout=60)
        ([1], 6)
        >>> find_stuck({0: Progress(7, 4, 'scoring'), 1: Progress(8, 5)}, 10, 6, 60)
        ([], 6)
    """
    numbers = [each.collectives for each in reached.values()]
    least = min(numbers)
    if least < 0 or least == max(numbers):
        return [], timeout
    behind = {rank: each for rank, each in sorted(reached.items()) if each.collectives == least}
    undeclared = [rank for rank, each in behind.items() if not each.work]
    if undeclared and idle > timeout:
        return undeclared, timeout
    if idle > max(timeout, long_timeout):
        return list(behind), long_timeout
    return [], timeout


def name_processes(ranks: Collection[int], world_size: int) -> str:
    """Say that processes have not answered.

    Args:
        ranks: Their ranks, at least one.
        world_size: Number of all processes.

    Returns:
        The start of a sentence.

    Example:
        >>> name_processes([1, 3], 4)
        'processes 1, 3 of 4 have not answered'
    """
    numbers = ', '.join(map(str, ranks))
    named, verb = ('process', 'has') if len(ranks) == 1 else ('processes', 'have')
    return f'{named} {numbers} of {world_size} {verb} not answered'
