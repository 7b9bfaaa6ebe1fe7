"""Ctrl-C and SIGTERM as a request to stop, which a training takes up after its step."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.sharedctypes import RawValue
from types import FrameType
from typing import Any

from mmengine.dist import is_main_process
from torch.utils.data import DataLoader

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Notes Ctrl-C and SIGTERM inside its block instead of ending the process.

    A second Ctrl-C ends the process at once. What the process ignores when the block begins, such
    as the Ctrl-C of a job in the background of a script, it goes on ignoring. Outside the main
    thread, where Python sets no handlers, the block changes nothing. ``received`` is the number of
    the first signal that came, 0 if none came.

    Example:
        >>> with StopSignals() as signals:
        ...     os.kill(os.getpid(), signal.SIGTERM)
        >>> signals.received == signal.SIGTERM
        True
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[signal.Signals, Any] = {}
        self._process = os.getpid()
        self._speaks = is_main_process()

    def __enter__(self) -> StopSignals:
        """Begin to note signals."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # None is a handler that another language has set.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back to what handled them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if signal.SIGINT in self._before:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        # Not in a worker that was forked a moment ago.
        if self._speaks and not self.received and self._process == os.getpid():
            # Python's streams must not be entered from a handler.
            with suppress(OSError):
                os.write(2, b'stopping after this step; Ctrl-C again ends at once\n')
        self.received = self.received or number


class WorkerShield:
    """Lets the workers of loaders live through the signals that ask the training to stop.

    Ctrl-C in a terminal, batch systems and torchrun signal a whole process group, and the training
    would fail for want of the worker before it has saved. So the workers ignore the first Ctrl-C
    and the first SIGTERM, until the training is over: Python ends them by one SIGTERM at its own
    end, and waits for them.

    Example:
        >>> loader = DataLoader([1, 2])
        >>> shield = WorkerShield()
        >>> shield.cover(loader)
        >>> shield.drop()
    """

    def __init__(self) -> None:
        # In memory that is shared with the workers.
        self._is_over = RawValue(ctypes.c_bool, False)

    def cover(self, loader: DataLoader[Any]) -> None:
        """Shield the workers that a loader will start.

        Args:
            loader: The loader.
        """
        if not isinstance(loader.worker_init_fn, _ShieldedInit):
            loader.worker_init_fn = _ShieldedInit(loader.worker_init_fn, self._is_over)

    def drop(self) -> None:
        """Let signals end the workers from now on."""
        self._is_over.value = True


class _ShieldedInit:
    def __init__(self, inner: Callable[[int], object] | None, is_over: Any) -> None:
        self.inner, self.is_over = inner, is_over

    def __call__(self, worker_id: int) -> None:
        for number in SIGNALS:
            signal.signal(number, self._ignore_once)
        if self.inner is not None:
            self.inner(worker_id)

    def _ignore_once(self, number: int, _: FrameType | None) -> None:
        # So that torch can still end a worker that hangs: it tries twice.
        signal.signal(number, signal.SIG_DFL)
        if self.is_over.value:
            os.kill(os.getpid(), number)
