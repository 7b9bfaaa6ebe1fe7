"""The line of progress: rewritten on a terminal, rare in a log."""

from __future__ import annotations

import io
import sys

import pytest

from fusionreid.evaluation.functional import progress
from fusionreid.evaluation.functional.progress import Progress


class Terminal(io.StringIO):
    """What a terminal would show."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test sets."""
    now = [100.0]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
    return now


def updates(clock: list[float], stream: io.StringIO, steps: list[tuple[float, int]]) -> str:
    """Count to 40 at the given seconds, and return what was shown."""
    meter = Progress('ranking queries', 40)
    for seconds, done in steps:
        clock[0] = 100 + seconds
        meter.update(done)
    return stream.getvalue()


def test_a_terminal_has_one_line(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, 'stderr', terminal)
    steps = [(0, 0), (0.1, 1), (90, 20), (90.1, 21), (99, 30), (120, 40)]
    assert updates(clock, terminal, steps) == (
        '\rranking queries: 0/40 (0%)'
        '\rranking queries: 20/40 (50%), 90 s left'
        '\rranking queries: 30/40 (75%), 33 s left'
        '\rranking queries: 40/40 (100%), 0 s left\n'
    )


def test_blanks_cover_a_longer_line(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, 'stderr', terminal)
    shown = updates(clock, terminal, [(100, 10), (200, 39)])
    first, second = shown.split('\r')[1:]
    assert first.endswith('300 s left')
    assert second == f'{"ranking queries: 39/40 (97%), 5 s left":<{len(first)}}'
    assert len(second) > len(second.rstrip())


def test_a_log_has_few_lines(clock, monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, 'stderr', log)
    steps = [(0, 0), (4.9, 1), (5, 2), (9.9, 20), (10, 25), (10.1, 40)]
    assert updates(clock, log, steps).splitlines() == [
        'ranking queries: 2/40 (5%), 95 s left',
        'ranking queries: 25/40 (62%), 6 s left',
        'ranking queries: 40/40 (100%), 0 s left',
    ]


@pytest.mark.parametrize('stream', [Terminal, io.StringIO])
def test_nothing_is_shown_unless_enabled(stream, monkeypatch):
    monkeypatch.setattr(sys, 'stderr', stream())
    Progress('searching', 2, enabled=False).update(2)
    assert sys.stderr.getvalue() == ''


def test_nothing_to_do_is_all_done(capsys):
    Progress('searching', 0).update(0)
    assert capsys.readouterr().err == 'searching: 0/0 (100%)\n'
