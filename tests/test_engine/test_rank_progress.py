"""Who keeps the others waiting, from tables of what processes have reached."""

from __future__ import annotations

import threading

import pytest
from torch import distributed

from fusionreid.engine import rank_watch
from fusionreid.engine.rank_progress import Progress, find_stuck
from fusionreid.engine.rank_watch import RankWatch, long_work

TIMEOUT, LONG = 10, 100


def stuck(*reached: Progress, idle: float = 11, long_timeout: float = LONG) -> list[int]:
    return find_stuck(dict(enumerate(reached)), idle, TIMEOUT, long_timeout)[0]


@pytest.mark.parametrize(
    ('reached', 'named'),
    [
        # Hanging in a forward, a loss, a hook or a metric: fewer collectives than the others.
        ([Progress(8, 4), Progress(7, 4)], [1]),
        ([Progress(7, 9), Progress(8, 4)], [0]),
        ([Progress(8), Progress(7), Progress(8), Progress(7)], [1, 3]),
        # Those ahead of the last one wait for it, however far each is.
        ([Progress(9), Progress(8), Progress(7)], [2]),
        # All as far as each other: slow together, or all wait for the network.
        ([Progress(7, 4), Progress(7, 4)], []),
        ([Progress(7, 4), Progress(7, 9)], []),
        # Long work of the last one.
        ([Progress(7, 4, 'scoring'), Progress(8, 4)], []),
        ([Progress(7, 4, 'saving'), Progress(8, 4), Progress(8, 4)], []),
        # Long work of those that wait does not excuse the others.
        ([Progress(8, 4, 'scoring'), Progress(7, 4)], [1]),
        # Of two at the end, the one that has declared nothing.
        ([Progress(7, 4, 'saving'), Progress(7, 4), Progress(8, 4)], [1]),
        # Not all have joined.
        ([Progress(0), Progress(-1)], []),
        ([Progress(), Progress()], []),
        ([Progress(3)], []),
    ],
)
def test_who_is_behind(reached, named):
    assert stuck(*reached) == named
    assert stuck(*reached, idle=9) == []


def test_long_work_has_a_limit_of_its_own():
    reached = {0: Progress(7, 4, 'scoring'), 1: Progress(8, 4)}
    assert find_stuck(reached, 99, TIMEOUT, LONG) == ([], TIMEOUT)
    assert find_stuck(reached, 101, TIMEOUT, LONG) == ([0], LONG)


def test_progress_survives_the_store():
    reached = Progress(7, 4, 'drawing "maps"')
    assert Progress.from_json(reached.to_json().encode()) == reached


class Watched:
    """Watches of several processes, in threads of this one, on a store in memory."""

    def __init__(self, count: int, monkeypatch: pytest.MonkeyPatch):
        store = distributed.HashStore()
        self.collectives = dict.fromkeys(range(count), 1)
        self.reasons: dict[int, str] = {}
        self.ended = threading.Event()
        monkeypatch.setattr(rank_watch, 'count_collectives', self._count)
        self.watches = []
        for rank in range(count):
            watch = RankWatch(
                rank, count, 2.0, 4.0, lambda: store, lambda text, rank=rank: self._end(rank, text)
            )
            self.watches.append(watch)
        self._ranks: dict[int, int] = {}

    def _count(self) -> int:
        return self.collectives[self._ranks[threading.get_ident()]]

    def _end(self, rank: int, reason: str) -> None:
        self.reasons[rank] = reason
        if len(self.reasons) == len(self.watches):
            self.ended.set()

    def start(self) -> None:
        for watch in self.watches:
            for work in (watch._exchange, watch._judge):
                threading.Thread(target=self._run, args=(watch.rank, work), daemon=True).start()

    def _run(self, rank: int, work) -> None:
        self._ranks[threading.get_ident()] = rank
        work()

    def stop(self) -> None:
        for watch in self.watches:
            watch.stop()


@pytest.fixture
def watched(monkeypatch):
    both = Watched(3, monkeypatch)
    yield both
    both.stop()


def test_all_processes_name_the_one_behind(watched):
    watched.collectives |= {0: 2, 1: 2}
    watched.start()
    assert watched.ended.wait(30)
    line = 'process 2 of 3 has not answered for 2 s (env_cfg.dist_cfg.timeout)'
    assert all(reason.startswith(line) for reason in watched.reasons.values())
    assert 'this one being at' in watched.reasons[2]
    assert 'this one being at' not in watched.reasons[0]


@pytest.mark.slow
def test_one_that_passes_points_of_its_work_is_waited_for(watched):
    watched.collectives |= {0: 2, 1: 2}
    watched.start()
    for _ in range(16):  # 4 seconds
        assert not watched.ended.wait(0.25)
        watched.watches[2].note_progress()
    assert watched.reasons == {}
    assert watched.ended.wait(30)


def test_one_that_waits_for_others_between_two_batches_is_not_waiting_for_data(watched):
    watched.watches[0].waits_for_data(True)
    watched.collectives[0] = 2
    watched.start()
    assert watched.ended.wait(30)
    assert 'processes 1, 2 of 3 have not answered' in watched.reasons[0]


@pytest.mark.slow
def test_declared_work_ends_after_the_long_limit(watched, monkeypatch):
    monkeypatch.setattr(rank_watch, '_watch', watched.watches[0])
    watched.collectives |= {1: 2, 2: 2}
    with long_work('scoring'), long_work('re-ranking'):
        assert watched.watches[0]._own.work == 're-ranking'
        watched.start()
        assert watched.ended.wait(30)
    assert watched.watches[0]._own.work == ''
    line = 'process 0 of 3 has not answered for 4 s (env_cfg.long_timeout)'
    assert all(reason.startswith(line) for reason in watched.reasons.values())
