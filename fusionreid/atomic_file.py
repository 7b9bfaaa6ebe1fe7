"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Name a file to write in the place of another, which it replaces whole or not at all.

    What is written is forced to the disk and renamed at the end; after an exception the target is
    as it was before.

    Args:
        path: The target; missing folders are made.

    Yields:
        Path beside the target to write to.
    """
    temporary = Path(f'{path}.{os.getpid()}.part')
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        with open(temporary, 'rb') as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def open_atomic(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears whole or not at all, see :func:`atomic_path`.

    Args:
        path: The target; missing folders are made.

    Yields:
        The binary file to write to.
    """
    with atomic_path(path) as temporary, open(temporary, 'wb') as file:
        yield file
        file.flush()
