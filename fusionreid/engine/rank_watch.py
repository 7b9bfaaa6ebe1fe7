"""Ends a training of several processes when one of them stops answering, and names that one.

A collective that waits for a lost process ends, on some backends, after its timeout, and names
nobody. Here every process writes a number into the store of the process group again and again, from
a thread of its own, and what it has reached, see :mod:`fusionreid.engine.rank_progress`. A process
whose number does not change is stopped, killed or cut off. One whose number changes while the
others wait for it hangs, unless it has declared :func:`long_work`.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn

from torch import distributed

from .rank_progress import Progress, find_stuck, name_processes

# Seconds, unless the config has other numbers in env_cfg.dist_cfg.timeout and env_cfg.long_timeout.
DEFAULT_TIMEOUT, DEFAULT_LONG_TIMEOUT = 600.0, 7200.0
# Signs of life in a timeout, and the longest time between two of them in seconds.
_SIGNS, _LONGEST_INTERVAL = 20, 2.0
# How many signs must be missing once it is known that some process is lost.
_MISSING = 5
# For how many signs a process without which the others could not learn who is stuck stays.
_LINGER = 3


class RankWatch:
    """Watches all processes of a group from each of them.

    Args:
        rank: Rank of this process.
        world_size: Number of processes.
        timeout: After how many seconds without a sign of life, of waiting for the data loader, or
            of keeping the others waiting, a process counts as lost.
        long_timeout: How many seconds one that has declared long work may keep them waiting.
        connect: Opens a connection to the store that all processes share. Its calls may never
            return when its host is stopped, so they have a thread of their own.
        end: What ends this process; called with the reason, from a thread.
    """

    def __init__(
        self,
        rank: int,
        world_size: int,
        timeout: float,
        long_timeout: float,
        connect: Callable[[], distributed.Store],
        end: Callable[[str], object],
    ) -> None:
        self.rank = rank
        self.world_size = world_size
        self.timeout = timeout
        self.long_timeout = long_timeout
        self.interval = min(_LONGEST_INTERVAL, timeout / _SIGNS)
        self._connect, self._end = connect, end
        self._stopped = threading.Event()
        self._store_failed = False
        self._stuck = False
        self._signs: dict[int, bytes] = {}
        self._own = Progress()
        self._reached = dict.fromkeys(range(world_size), self._own)
        self._waits_since: float | None = None
        self._forget()

    def start(self) -> None:
        """Begin to give signs of life, and to look for those of the others."""
        for work in (self._exchange, self._judge):
            threading.Thread(target=work, name='rank watch', daemon=True).start()

    def stop(self) -> None:
        """End the watch, when all processes have done their work."""
        self._stopped.set()

    def waits_for_data(self, waits: bool) -> None:
        """Note that this process begins to wait for its data loader, or does not wait any more.

        Args:
            waits: Whether it waits.
        """
        self._waits_since = time.monotonic() if waits else None
        self.note_progress()

    def note_progress(self) -> None:
        """Note that this process has passed a point of its work."""
        self._own = replace(self._own, marks=self._own.marks + 1)

    def works_long(self, work: str) -> str:
        """Note that this process begins long work, or ends it.

        Args:
            work: The work, in a word or two; empty at its end.

        Returns:
            What was noted before.
        """
        before = self._own.work
        self._own = replace(self._own, work=work, marks=self._own.marks + 1)
        return before

    def find_lost(self) -> str | None:
        """Find out who is lost after communication has failed, in a few signs' time.

        Returns:
            A sentence that names the process; None if all give signs of life.
        """
        limit = _MISSING * self.interval
        deadline = time.monotonic() + 2 * limit
        while time.monotonic() < deadline:
            if not self._stuck:  # else this process is about to end, with a better reason
                reason = self._store_lost() if self._store_failed else self._lost_after(limit)
                if reason:
                    return reason
            time.sleep(self.interval / 2)
        return None

    def _forget(self) -> None:
        now = time.monotonic()
        self._last_round = self._last_change = now
        self._last_sign = dict.fromkeys(range(self.world_size), now)
        if self._waits_since is not None:
            self._waits_since = now

    def _exchange(self) -> None:
        """Write the own number and read the others', until the end."""
        try:
            store = self._connect()
            number = 0
            while not self._stopped.wait(self.interval):
                number += 1
                own = replace(self._own, collectives=count_collectives())
                self._note(self.rank, own)
                store.set(str(self.rank), f'{number} {own.to_json()}')
                for rank in range(self.world_size):
                    key = str(rank)
                    if rank != self.rank and store.check([key]):
                        found = store.get(key)
                        if found != self._signs.get(rank):
                            self._signs[rank] = found
                            self._last_sign[rank] = time.monotonic()
                            self._note(rank, Progress.from_json(found.partition(b' ')[2]))
                self._last_round = time.monotonic()
        except RuntimeError:  # the connection is closed
            self._store_failed = True

    def _note(self, rank: int, reached: Progress) -> None:
        if reached != self._reached[rank]:
            self._reached[rank] = reached
            self._last_change = time.monotonic()

    def _judge(self) -> None:
        """End this process as soon as one is lost."""
        before = time.monotonic()
        while not self._stopped.wait(self.interval):
            now = time.monotonic()
            if now - before > _MISSING * self.interval:
                self._forget()  # this process was stopped itself, perhaps with all others
            before = now
            since = self._waits_since
            if since is not None and now - since > self.timeout and not self._is_ahead():
                self._end(
                    f'process {self.rank} of {self.world_size} waits for its data loader for '
                    f'{self.timeout:g} s: look at the disk of its images, or raise '
                    'env_cfg.dist_cfg.timeout'
                )
                return
            reason = self._lost_after(self.timeout)
            if reason:
                reason += f' for {self.timeout:g} s (env_cfg.dist_cfg.timeout)'
            else:
                reason = self._stuck_since(now)
            if reason and not self._stopped.is_set():
                self._end(f'{reason}. Start all processes again with --resume')
                return

    def _is_ahead(self) -> bool:
        """Whether this process waits for others, in a collective between two batches."""
        numbers = [each.collectives for each in self._reached.values()]
        return numbers[self.rank] > min(numbers)

    def _stuck_since(self, now: float) -> str | None:
        idle = now - self._last_change
        ranks, limit = find_stuck(dict(self._reached), idle, self.timeout, self.long_timeout)
        if not ranks:
            return None
        self._stuck = True
        setting = 'dist_cfg.timeout' if limit == self.timeout else 'long_timeout'
        named = name_processes(ranks, self.world_size)
        reason = f'{named} for {limit:g} s (env_cfg.{setting})'
        if self.rank in ranks:
            reason += f', this one being at {_main_thread_place()}'
        if self.rank in (0, *ranks):
            # The first may hold the store, and an end of one that hangs is seen by the backend.
            self._stopped.wait(_LINGER * self.interval)
        return reason

    def _lost_after(self, seconds: float) -> str | None:
        now = time.monotonic()
        if now - self._last_round > seconds:
            return self._store_lost()
        lost = [
            rank
            for rank, sign in self._last_sign.items()
            if rank != self.rank and now - sign > seconds
        ]
        return name_processes(lost, self.world_size) if lost else None

    def _store_lost(self) -> str:
        if os.environ.get('TORCHELASTIC_USE_AGENT_STORE') == 'True':
            return 'the store that torchrun holds on the first node has not answered'
        return name_processes([0], self.world_size)


def count_collectives() -> int:
    """The collectives of the process group that this process has entered; -1 if there is none."""
    # torch counts them for its own debugging, where it has no public name for that yet.
    group = distributed.group.WORLD
    return -1 if group is None else group._get_sequence_number_for_group()  # type: ignore[attr-defined]


def _main_thread_place() -> str:
    """Where the main thread is: file, line and function."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    code = frame.f_code
    return f'{Path(code.co_filename).name}:{frame.f_lineno}, in {code.co_name}'


def end_process(reason: str) -> NoReturn:
    """End this process with one line, its main thread being in a call that does not return.

    Args:
        reason: What happened.
    """
    sys.stderr.write(f'error: {reason}\n')
    sys.stderr.flush()
    sys.stdout.flush()
    for worker in multiprocessing.active_children():
        worker.kill()
    os._exit(1)


_watch: RankWatch | None = None


def start_watch(rank: int, world_size: int, timeout: float, long_timeout: float) -> None:
    """Watch the processes of a training, once in a process.

    Args:
        rank: See :class:`RankWatch`.
        world_size: See :class:`RankWatch`.
        timeout: See :class:`RankWatch`.
        long_timeout: See :class:`RankWatch`.
    """
    global _watch
    if _watch is None:
        connect = partial(_connect, timedelta(seconds=timeout))
        _watch = RankWatch(rank, world_size, timeout, long_timeout, connect, end_process)
        _watch.start()


def stop_watch() -> None:
    """End the watch, if there is one."""
    global _watch
    if _watch is not None:
        _watch.stop()
        _watch = None


def current_watch() -> RankWatch | None:
    """The watch of this process; None if it is alone."""
    return _watch


@contextmanager
def long_work(work: str) -> Iterator[None]:
    """Declare work for which the other processes may wait long.

    Also a decorator. A process alone may use it, too, which changes nothing.

    Args:
        work: The work, in a word or two, such as ``'scoring'``.

    Yields:
        None; the work belongs inside.
    """
    watch = current_watch()
    before = watch.works_long(work) if watch is not None else ''
    try:
        yield
    finally:
        if watch is not None:
            watch.works_long(before)


def _connect(timeout: timedelta) -> distributed.Store:
    # A connection of its own: that of the process group may be busy in a call of the main thread.
    store = distributed.TCPStore(
        os.environ['MASTER_ADDR'],
        int(os.environ['MASTER_PORT']),
        is_master=False,
        wait_for_workers=False,
        timeout=timeout,
    )
    restarts = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    return distributed.PrefixStore(f'fusionreid/watch/{restarts}', store)
