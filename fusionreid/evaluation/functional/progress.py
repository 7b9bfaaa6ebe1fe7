"""Shows how far a long computation has come, and how long it will still take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

# Seconds between two updates on a terminal, and between two lines in a log.
TERMINAL_INTERVAL, LOG_INTERVAL = 0.2, 5.0
# Fewer bytes than these are read before anybody wonders.
MANY_BYTES = 1 << 28


class Progress:
    """One line on stderr that counts what is finished: ``label: done/total (percent), N s left``.

    On a terminal the line is rewritten, at most five times a second. Anywhere else, such as in a
    log, it is printed every five seconds. Both show the end.

    Args:
        label: What is done, and what is counted.
        total: How much there is to do.
        enabled: Whether anything is shown.
    """

    def __init__(self, label: str, total: int, enabled: bool = True) -> None:
        self.label, self.total, self.enabled = label, total, enabled
        self.on_terminal = sys.stderr.isatty()
        self.start = time.monotonic()
        self.interval = TERMINAL_INTERVAL if self.on_terminal else LOG_INTERVAL
        # A terminal shows the first update at once.
        self.shown = self.start - self.interval if self.on_terminal else self.start
        self.width = 0

    def update(self, done: int) -> None:
        """Show how much is finished, if it is time for it.

        Args:
            done: How much is finished, from 0 to ``total``.
        """
        now = time.monotonic()
        is_end = done >= self.total
        if not self.enabled or (not is_end and now - self.shown < self.interval):
            return
        self.shown = now
        percent = 100 if is_end else 100 * done // self.total
        line = f'{self.label}: {done}/{self.total} ({percent}%)'
        if done:
            line += f', {(now - self.start) / done * (self.total - done):.0f} s left'
        if not self.on_terminal:
            print(line, file=sys.stderr, flush=True)
            return
        # Blanks cover what a longer line leaves behind.
        print(f'\r{line:<{self.width}}', end='\n' if is_end else '', file=sys.stderr, flush=True)
        self.width = len(line)


def report_bytes(label: str, total: int) -> Callable[[int], None]:
    """Show how many MiB are finished; of less than 256 MiB nothing is shown.

    Args:
        label: What is done.
        total: How many bytes there are.

    Returns:
        A function that is told how many more bytes are finished.

    Example:
        >>> report = report_bytes('verifying', 1000)
        >>> report(1000)
    """
    meter = Progress(f'{label}, MiB', -(-total >> 20), total >= MANY_BYTES)
    done = 0

    def report(amount: int) -> None:
        nonlocal done
        done += amount
        meter.update(meter.total if done >= total else done >> 20)

    return report
