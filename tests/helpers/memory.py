"""Giving memory back to the operating system."""

from __future__ import annotations

import ctypes
import gc
import sys


def return_memory() -> None:
    """Free what nothing refers to, and return it: glibc keeps freed blocks for later.

    Without this the process of the tests grows to the sum of its largest tests.
    """
    gc.collect()
    if sys.platform == 'linux':
        ctypes.CDLL(None).malloc_trim(0)
