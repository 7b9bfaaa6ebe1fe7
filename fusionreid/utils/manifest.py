"""Manifests: JSON files with the size and checksum of every file beside them, and of themselves."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from fusionreid.errors import UserError

from .files import file_sha256

SEAL = 'sha256'
FILES = 'files'


def seal(content: dict[str, Any]) -> bytes:
    """Write a manifest with a checksum over all of it.

    Args:
        content: Values that JSON can hold, by name.

    Returns:
        The text; every byte of it counts, see :func:`read_manifest`.

    Raises:
        TypeError: A value that JSON cannot hold.

    Example:
        >>> print(seal({'items': 3}).decode())
        {
          "items": 3,
          "sha256": "1059cdedfa06f365b4a4f4be233b37d68b31b8888836a7e794ee4d9eab562790"
        }
    """
    checksum = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return json.dumps({**content, SEAL: checksum}, indent=2).encode()


def read_manifest(
    path: Path, expected: str, error: type[UserError], advice: str, verify: bool = True
) -> dict[str, Any]:
    """Read a manifest.

    Args:
        path: Its file.
        expected: The ``format`` that it must have.
        error: What to raise.
        advice: What to do about a damaged one.
        verify: Whether it must be what :func:`seal` wrote, byte for byte.

    Returns:
        The content without the checksum.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: It is of another format or damaged; raised as ``error``.
    """
    text = path.read_bytes()
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError(f'it holds a {type(content).__name__}')
        content.pop(SEAL, None)
        is_sealed = seal(content) == text
    except (ValueError, RecursionError) as reason:
        raise error(f'{path} is damaged, {advice}: {reason}') from reason
    if content.get('format') != expected:
        raise error(
            f'{path} has the format {content.get("format")!r}, expected {expected!r}: {advice}'
        )
    if verify and not is_sealed:
        raise error(
            f'{path} is damaged, or was changed after it was saved: its checksum differs: {advice}'
        )
    return content


def record_files(folder: Path, names: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
    """Compute what a manifest says about files.

    Args:
        folder: Where they are.
        names: Their names; None for all files in the folder and below it.

    Returns:
        Size in bytes and SHA-256 checksum by name.
    """
    listed = sorted(_names(folder) if names is None else names)
    return {
        name: dict(size=(folder / name).stat().st_size, sha256=file_sha256(folder / name))
        for name in listed
    }


def recorded_size(manifest: dict[str, Any], path: Path, error: type[UserError]) -> int:
    """Number of bytes of the files that a manifest names, each of which must be well recorded.

    Args:
        manifest: What :func:`read_manifest` gives.
        path: Its file, for messages.
        error: What to raise.

    Returns:
        The bytes of all files together.

    Raises:
        UserError: The records are missing or senseless; raised as ``error``.
    """
    files = manifest.get(FILES)
    if not isinstance(files, dict):
        raise error(f'{path} is damaged: it names no files')
    total = 0
    for name, record in files.items():
        inside = PurePosixPath(name)
        is_below = name.isprintable() and not inside.is_absolute() and '..' not in inside.parts
        size = record.get('size') if isinstance(record, dict) else None
        if not is_below or type(size) is not int:
            raise error(f'{path} is damaged: it records {name!r} as {record!r}')
        total += size
    return total


def verify_files(
    folder: Path,
    manifest: dict[str, Any],
    error: type[UserError],
    advice: str,
    report: Callable[[int], None],
    is_alone: bool = False,
) -> None:
    """Compare files with what a manifest says about them.

    Args:
        folder: Where they are.
        manifest: One whose records :func:`recorded_size` has seen.
        error: What to raise.
        advice: What to do about a damaged file.
        report: Is told how many bytes were read, again and again.
        is_alone: Whether no other files may be in the folder.

    Raises:
        UserError: A file is missing, of another size or content, or left over; raised as ``error``.
    """
    files = manifest[FILES]
    for name, record in files.items():
        path = folder / name
        # Opening a pipe would wait for a writer.
        found = os.stat(path) if path.exists() else None
        if found is None or not stat.S_ISREG(found.st_mode):
            raise error(f'{path} is gone: {advice}')
        if found.st_size != record['size']:
            raise error(
                f'{path} is damaged, or was changed after it was saved: it has {found.st_size} '
                f'bytes instead of {record["size"]}: {advice}'
            )
        if file_sha256(path, report) != record.get('sha256'):
            raise error(
                f'{path} is damaged, or was changed after it was saved: its checksum differs: '
                f'{advice}'
            )
    strange = sorted(set(_names(folder)) - set(files)) if is_alone else []
    if strange:
        raise error(f'{folder / strange[0]} does not belong there: remove it, or {advice}')


def _names(folder: Path) -> list[str]:
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob('*')
        if path.is_symlink() or not path.is_dir()
    ]
