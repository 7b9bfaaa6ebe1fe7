from __future__ import annotations

from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from fusionreid.utils.files import open_atomic


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """Local files that appear whole or not at all: a run killed while it saves leaves the older
    checkpoints usable.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes through :func:`open_atomic`."""
        with open_atomic(filepath) as file:
            file.write(obj)
