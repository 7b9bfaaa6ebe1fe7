"""How functions tell how far they are, without knowing how that is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Meter(Protocol):
    """What is told how far a computation is."""

    def update(self, done: int) -> None:
        """Take note of how much is finished.

        Args:
            done: How much, from 0 to the total.
        """


# Is called with what is done and counted, and with how much there is to do. The class
# fusionreid.utils.progress.Progress is one.
StartMeter = Callable[[str, int], Meter]


class _Silence:
    def update(self, done: int) -> None:
        pass


def start_meter(progress: StartMeter | None, label: str, total: int) -> Meter:
    """Start a meter, or one that shows nothing.

    Args:
        progress: What starts it; None for nothing.
        label: What is done and counted.
        total: How much there is to do.

    Example:
        >>> start_meter(None, 'ranking queries', 40).update(20)
    """
    return progress(label, total) if progress else _Silence()
