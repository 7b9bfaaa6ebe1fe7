from __future__ import annotations

import os
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """Local files that appear whole or not at all: a run killed while it saves leaves the older
    checkpoints usable.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write to a file beside the target, force it to the disk, then rename it."""
        temporary = Path(f'{filepath}.{os.getpid()}.part')
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, filepath)
        finally:
            temporary.unlink(missing_ok=True)
