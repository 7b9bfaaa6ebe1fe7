"""Shows how far a long computation has come, and how long it will still take."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable

from tqdm import tqdm

# Seconds between two updates of a bar, and between two lines in a log.
BAR_INTERVAL, LOG_INTERVAL = 0.2, 5.0
BAR = '{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}, {remaining} left'
LOG_LINE = '{desc}: {n_fmt}/{total_fmt} ({percentage:.0f}%), {remaining} left'
# Fewer bytes than these are read before anybody wonders.
MANY_BYTES = 1 << 28


class _Bar(tqdm):
    # No thread that watches over bars: processes are forked meanwhile.
    monitor_interval = 0


class Progress:
    """Shows on stderr how much of a computation is finished, and the time that is left.

    A terminal has a bar, which is drawn again at most five times a second. Anything else, such as
    a log, has a line every five seconds. Both show the end.

    Args:
        label: What is done, and what is counted.
        total: How much there is to do; may be set later.
        enabled: Whether anything is shown.
    """

    def __init__(self, label: str, total: int, enabled: bool = True) -> None:
        self.label, self.total, self.enabled = label, total, enabled
        self._bar: _Bar | None = None
        if enabled and sys.stderr.isatty():
            size = shutil.get_terminal_size()  # 80 columns where a terminal has no size
            self._bar = _Bar(
                desc=label,
                total=total or None,
                file=sys.stderr,
                bar_format=BAR,
                mininterval=BAR_INTERVAL,
                miniters=1,
                smoothing=0,  # the mean rate
                ncols=size.columns,
                nrows=size.lines,
                position=0,  # one that never ended moves no other
            )
        self._start = self._shown = time.monotonic()

    def update(self, done: int) -> None:
        """Show how much is finished, if it is time for it.

        Args:
            done: How much is finished, from 0 to ``total``.
        """
        is_end = done >= self.total
        if self._bar is not None:
            self._bar.total = self.total
            self._bar.update(done - self._bar.n)
            if is_end:
                self._bar.close()
        elif self.enabled and self.total:
            self._log(done, is_end)

    def _log(self, done: int, is_end: bool) -> None:
        now = time.monotonic()
        if not is_end and now - self._shown < LOG_INTERVAL:
            return
        self._shown = now
        line = tqdm.format_meter(
            done, self.total, now - self._start, prefix=self.label, bar_format=LOG_LINE
        )
        print(line, file=sys.stderr, flush=True)


def time_left(done: float, total: float, seconds: float) -> str:
    """Say how long the rest of a computation takes at its mean rate.

    Args:
        done: How much is finished, above 0.
        total: How much there is to do.
        seconds: What the finished part took.

    Returns:
        Minutes and seconds, or hours too.

    Example:
        >>> time_left(1.5, 4, 36)
        '01:00 left'
    """
    return tqdm.format_meter(min(done, total), total, seconds, bar_format='{remaining} left')


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
