"""Ends a training of several processes when one of them stops answering, and names that one.

A collective that waits for a lost process ends, on some backends, after its timeout, and names
nobody. Here every process writes a number into the store of the process group again and again, from
a thread of its own. A process whose number does not change is stopped, killed or cut off. A process
that computes, scores, saves or compiles keeps counting, however long that takes.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import NoReturn

from torch import distributed

# Seconds, unless the config has another number in env_cfg.dist_cfg.timeout.
DEFAULT_TIMEOUT = 600.0
# Signs of life in a timeout, and the longest time between two of them in seconds.
_SIGNS, _LONGEST_INTERVAL = 20, 2.0
# How many signs must be missing once it is known that some process is lost.
_MISSING = 5


class RankWatch:
    """Watches all processes of a group from each of them.

    Args:
        rank: Rank of this process.
        world_size: Number of processes.
        timeout: After how many seconds without a sign of life, or of waiting for the data loader,
            a process counts as lost.
        connect: Opens a connection to the store that all processes share. Its calls may never
            return when its host is stopped, so they have a thread of their own.
        end: What ends this process; called with the reason, from a thread.
    """

    def __init__(
        self,
        rank: int,
        world_size: int,
        timeout: float,
        connect: Callable[[], distributed.Store],
        end: Callable[[str], object],
    ) -> None:
        self.rank = rank
        self.world_size = world_size
        self.timeout = timeout
        self.interval = min(_LONGEST_INTERVAL, timeout / _SIGNS)
        self._connect, self._end = connect, end
        self._stopped = threading.Event()
        self._store_failed = False
        self._numbers: dict[int, bytes] = {}
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

    def find_lost(self) -> str | None:
        """Find out who is lost after communication has failed, in a few signs' time.

        Returns:
            A sentence that names the process; None if all give signs of life.
        """
        limit = _MISSING * self.interval
        deadline = time.monotonic() + 2 * limit
        while time.monotonic() < deadline:
            reason = self._store_lost() if self._store_failed else self._lost_after(limit)
            if reason:
                return reason
            time.sleep(self.interval / 2)
        return None

    def _forget(self) -> None:
        now = time.monotonic()
        self._last_round = now
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
                store.set(str(self.rank), str(number))
                for rank in range(self.world_size):
                    key = str(rank)
                    if rank != self.rank and store.check([key]):
                        found = store.get(key)
                        if found != self._numbers.get(rank):
                            self._numbers[rank] = found
                            self._last_sign[rank] = time.monotonic()
                self._last_round = time.monotonic()
        except RuntimeError:  # the connection is closed
            self._store_failed = True

    def _judge(self) -> None:
        """End this process as soon as one is lost."""
        before = time.monotonic()
        while not self._stopped.wait(self.interval):
            now = time.monotonic()
            if now - before > _MISSING * self.interval:
                self._forget()  # this process was stopped itself, perhaps with all others
            before = now
            since = self._waits_since
            if since is not None and now - since > self.timeout:
                self._end(
                    f'process {self.rank} of {self.world_size} waits for its data loader for '
                    f'{self.timeout:g} s: look at the disk of its images, or raise '
                    'env_cfg.dist_cfg.timeout'
                )
                return
            reason = self._lost_after(self.timeout)
            if reason and not self._stopped.is_set():
                self._end(
                    f'{reason} for {self.timeout:g} s (env_cfg.dist_cfg.timeout). Start all '
                    'processes again with --resume'
                )
                return

    def _lost_after(self, seconds: float) -> str | None:
        now = time.monotonic()
        if now - self._last_round > seconds:
            return self._store_lost()
        lost = [
            str(rank)
            for rank, sign in self._last_sign.items()
            if rank != self.rank and now - sign > seconds
        ]
        if not lost:
            return None
        named = f'process {lost[0]}' if len(lost) == 1 else f'processes {", ".join(lost)}'
        verb = 'has' if len(lost) == 1 else 'have'
        return f'{named} of {self.world_size} {verb} not answered'

    def _store_lost(self) -> str:
        if os.environ.get('TORCHELASTIC_USE_AGENT_STORE') == 'True':
            return 'the store that torchrun holds on the first node has not answered'
        return f'process 0 of {self.world_size} has not answered'


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


def start_watch(rank: int, world_size: int, timeout: float) -> None:
    """Watch the processes of a training, once in a process.

    Args:
        rank: See :class:`RankWatch`.
        world_size: See :class:`RankWatch`.
        timeout: See :class:`RankWatch`.
    """
    global _watch
    if _watch is None:
        connect = partial(_connect, timedelta(seconds=timeout))
        _watch = RankWatch(rank, world_size, timeout, connect, end_process)
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
