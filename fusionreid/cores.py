"""The processor cores of this process."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Count the cores that this process may use; in a container they may be fewer than there are.

    Returns:
        Their number, at least 1.
    """
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
