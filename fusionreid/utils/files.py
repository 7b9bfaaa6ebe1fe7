"""Writing files that appear whole or not at all, tensors in files, and checksums of files."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Name a file to write in the place of another, which it replaces whole or not at all.

    What is written is forced to the disk and renamed at the end; after an exception the target is
    as it was before.

    Args:
        path: The target; missing folders are made.

    Yields:
        Path beside the target to write to.

    Raises:
        OSError: If it cannot be written, or the target is a device or a pipe, such as
            ``/dev/null``, which would be replaced.
    """
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise OSError(errno.ENXIO, 'it is a device or a pipe, expected a file', str(path))
    temporary = Path(f'{path}.{os.getpid()}.part')
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        with open(temporary, 'rb') as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        # What is refused to an open file does not name it.
        if error.errno and error.filename is None:
            error.filename = str(path)
        raise
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


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file with the permissions of any new file.

    Args:
        path: The file, in an existing folder.
        tensors: Tensors by name, on any device.
        metadata: Texts by name.

    Raises:
        OSError: It cannot be written, for example because the disk is full.
    """
    # safetensors hides its files from everyone else.
    path.touch()
    mode = path.stat().st_mode
    content = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(content, path, dict(metadata) if metadata else None)
    except SafetensorError as error:
        # Its word for whatever the operating system refuses.
        raise OSError(f'{path.name} cannot be written: {error}') from error
    path.chmod(mode)


def write_durably(path: Path, content: bytes | memoryview) -> None:
    """Write a file and wait until it is on the disk.

    Args:
        path: File to write; an existing one is replaced.
        content: What to write.
    """
    with open(path, 'wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Wait until a file that something else wrote is on the disk.

    Args:
        path: The file.
    """
    with open(path, 'rb') as file:
        os.fsync(file.fileno())


def file_sha256(path: str | Path, report: Callable[[int], None] | None = None) -> str:
    """Compute the SHA-256 checksum of a file.

    Args:
        path: The file; it is read in parts.
        report: Is told the number of bytes of each part.

    Returns:
        64 hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
            if report is not None:
                report(len(block))
    return digest.hexdigest()
