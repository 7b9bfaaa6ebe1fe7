"""Progress: a bar on a terminal, a few lines in a log."""

from __future__ import annotations

import io
import re
import sys

import pytest

from fusionreid.utils import progress
from fusionreid.utils.progress import Progress


class Terminal(io.StringIO):
    """What a terminal would show."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test sets."""
    now = [100.0]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
    monkeypatch.setattr('tqdm.std.time', lambda: now[0])
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
    steps = [(0, 0), (0.1, 1), (90, 20), (90.1, 21), (99, 30), (7200, 39), (7201, 40)]
    shown = updates(clock, terminal, steps)
    assert shown.endswith('\n')
    assert shown.count('\n') == 1
    assert re.sub(r'\|.*?\|', '|bar|', shown).rstrip().split('\r')[1:] == [
        'ranking queries:   0%|bar| 0/40, ? left',
        'ranking queries:  50%|bar| 20/40, 01:30 left',
        'ranking queries:  75%|bar| 30/40, 00:33 left',
        'ranking queries:  98%|bar| 39/40, 03:04 left',
        'ranking queries: 100%|bar| 40/40, 00:00 left',
        'ranking queries: 100%|bar| 40/40, 00:00 left',  # when it is closed
    ]


def test_a_total_that_is_known_later(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, 'stderr', terminal)
    meter = Progress('frames', 0)
    for done, meter.total in ((1, 3), (3, 3), (3, 3)):
        meter.update(done)
    assert terminal.getvalue().rstrip().endswith('3/3, 00:00 left')
    assert terminal.getvalue().count('\n') == 1


def test_a_log_has_few_lines(clock, monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, 'stderr', log)
    steps = [(0, 0), (4.9, 1), (5, 2), (9.9, 20), (10, 25), (10.1, 40)]
    assert updates(clock, log, steps).splitlines() == [
        'ranking queries: 2/40 (5%), 01:35 left',
        'ranking queries: 25/40 (62%), 00:06 left',
        'ranking queries: 40/40 (100%), 00:00 left',
    ]


@pytest.mark.parametrize('stream', [Terminal, io.StringIO])
def test_nothing_is_shown_unless_enabled(stream, monkeypatch):
    monkeypatch.setattr(sys, 'stderr', stream())
    Progress('searching', 2, enabled=False).update(2)
    assert sys.stderr.getvalue() == ''


def test_of_nothing_to_do_nothing_is_shown(capsys):
    Progress('searching', 0).update(0)
    assert capsys.readouterr().err == ''
