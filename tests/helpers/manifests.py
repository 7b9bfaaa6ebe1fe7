"""Manifests that somebody changed who knows how they are sealed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fusionreid.utils.manifest import FILES, SEAL, record_files, seal


def change_manifest(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the content of a manifest, and give it the checksum that fits again.

    Args:
        path: Its file.
        change: Is given the content, and changes it.
    """
    content = json.loads(path.read_bytes())
    del content[SEAL]
    change(content)
    path.write_bytes(seal(content))


def record_again(path: Path, folder: Path) -> None:
    """Make a manifest record the files that it names as they are now."""
    change_manifest(
        path, lambda content: content.update(files=record_files(folder, content[FILES]))
    )
