"""What the machine refuses: space, permission, memory, a process; told in a line, not a traceback.

Nothing here is a matter of one command, so all of it is told at one place, ``cli/main.py``.
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from fusionreid.utils.terminal import say

# Words of torch's data loader and of its allocators, which raise plain RuntimeErrors.
WORKER_DIED = re.compile(r'DataLoader worker \(pid(?:\(s\))? [\d, ]+\) [^\n]*')
NO_MEMORY = re.compile(r"[^.\n]*(?:out of memory|(?:can't|cannot) allocate memory)[^\n]*", re.I)


def describe_environment_error(error: BaseException) -> str | None:
    """Say in one line what the machine has refused.

    Args:
        error: Any exception.

    Returns:
        The line, with what to do; None if the exception is none of these, but a mistake of the
        program.

    Example:
        >>> describe_environment_error(OSError(28, 'No space left on device', 'epoch_3.pth'))
        'epoch_3.pth: No space left on device. Free space there, or choose another folder'
        >>> describe_environment_error(KeyError('width')) is None
        True
    """
    scarce = NO_MEMORY.search(str(error)) if isinstance(error, RuntimeError) else None
    if isinstance(error, MemoryError) or scarce:
        reason = (scarce[0] if scarce else str(error)).strip() or 'out of memory'
        return (
            f'the memory does not suffice ({reason:.160}): lower the batch size or the image size, '
            'or set with_cp=True of backbones and neck, which recomputes instead of keeping'
        )
    if isinstance(error, RuntimeError) and (died := WORKER_DIED.search(str(error))):
        reason = died[0].rstrip('. ')
        return (
            f'{reason}. The system ends processes when memory runs out: lower num_workers of the '
            'data loader or its prefetch_factor, or give more (shared) memory'
        )
    if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
        file = error.filename if error.filename is not None else _open_file(error)
        return f'{file or "a file"}: {os.strerror(error.errno)}. {_advice(error)}'
    return None


def _open_file(error: OSError) -> str | None:
    """The file that was written to: errors of one that is open do not name it."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in frame.f_locals.values():
            if isinstance(value, io.IOBase):
                found = getattr(value, 'name', found)
    return str(found) if isinstance(found, (str, Path)) else None


def _advice(error: OSError) -> str:
    name = type(error).__name__
    if name == 'PermissionError':
        return 'Change its permissions, or choose another folder'
    if name in ('FileNotFoundError', 'FileExistsError', 'IsADirectoryError', 'NotADirectoryError'):
        return 'Something else uses or changes this folder: choose another one'
    return 'Free space there, or choose another folder'


@contextmanager
def no_hidden_environment_errors() -> Iterator[None]:
    """Let the command end by what is refused to its log file, and let threads tell it in a line.

    Python's logging prints a traceback for each record that it cannot write, and goes on. A thread
    that writes files, such as TensorBoard's, prints one too; the command ends by the same error
    when it gives the thread more to write.

    Yields:
        None; the command belongs inside.
    """
    usual = threading.excepthook

    def tell(args: threading.ExceptHookArgs) -> None:
        line = None if args.exc_value is None else describe_environment_error(args.exc_value)
        if line is None:
            usual(args)
        else:
            say(f'error: {line}', sys.stderr)

    def raise_again(handler: logging.FileHandler, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError) and error.filename is None:
            error.filename = handler.baseFilename
        raise

    with (
        mock.patch.object(threading, 'excepthook', tell),
        mock.patch.object(logging.FileHandler, 'handleError', raise_again),
    ):
        yield
