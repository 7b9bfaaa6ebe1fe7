"""The file backend ``atomic_local``, by which MMEngine's checkpoint hook writes atomically.

The atomic write itself is :func:`fusionreid.utils.files.open_atomic`.
"""

from __future__ import annotations

from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from fusionreid.utils.files import open_atomic


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """Local files that appear whole or not at all.

    Reason: ``put`` of MMEngine 0.10.7 and onedl-mmengine 0.10.12 leaves half a file when the run is
    killed while it saves. It ends with an MMEngine that writes atomically.

    Example:
        >>> from mmengine.fileio import get_file_backend
        >>> type(get_file_backend(backend_args=dict(backend='atomic_local'))).__name__
        'AtomicLocalBackend'
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes through :func:`~fusionreid.utils.files.open_atomic`.

        Args:
            obj: The content.
            filepath: The target; missing folders are made.
        """
        with open_atomic(filepath) as file:
            file.write(obj)
