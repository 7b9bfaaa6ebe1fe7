from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mmengine.fileio import LocalBackend, register_backend


@contextmanager
def open_atomic(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears whole or not at all.

    What is written goes to a file beside the target, which is forced to the disk and renamed at the
    end; after an exception the target is as it was before.

    Args:
        path: The target; missing folders are made.

    Yields:
        The binary file to write to.
    """
    temporary = Path(f'{path}.{os.getpid()}.part')
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(temporary, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """Local files that appear whole or not at all: a run killed while it saves leaves the older
    checkpoints usable.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes through :func:`open_atomic`."""
        with open_atomic(filepath) as file:
            file.write(obj)
