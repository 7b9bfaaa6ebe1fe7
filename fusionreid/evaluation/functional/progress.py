"""Shows how far a long computation has come, and how long it will still take."""

from __future__ import annotations

import sys
import time


class Progress:
    """One line on stderr that counts finished rows.

    Args:
        label: What is done.
        total: Rows in all.
        enabled: Whether anything is shown.
    """

    def __init__(self, label: str, total: int, enabled: bool) -> None:
        self.label, self.total, self.enabled = label, total, enabled
        self.start = time.monotonic()
        self.last = 0.0

    def update(self, done: int) -> None:
        """Show how many rows are finished, at most five times a second.

        Args:
            done: Rows that are finished.
        """
        now = time.monotonic()
        if not self.enabled or (done < self.total and now - self.last < 0.2):
            return
        self.last = now
        left = (now - self.start) / max(done, 1) * (self.total - done)
        end = '\n' if done >= self.total else ''
        print(
            f'\r{self.label}: {done}/{self.total}, {left:.0f} s left ',
            end=end,
            file=sys.stderr,
            flush=True,
        )
