"""A folder has one owner: nothing else writes into it meanwhile."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fusionreid.errors import ConfigError
from fusionreid.utils.terminal import say

from .output_file import make_folder

LOCK = 'train.lock'
_HOLDER = re.compile(r'process \d+ on [\w.-]+')
# What file systems answer that have no locks, NFS without its lock service among them.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def locked(work_dir: Path, option: str = '--work-dir', what: str = 'training') -> Iterator[None]:
    """Hold the lock of a run folder, so that no second run starts in it.

    The operating system releases it when the process ends, however it ends. Where the file system
    has no locks, a line says so and the block runs without.

    Args:
        work_dir: The folder; it is made if it is not there.
        option: What names it on the command line, for the errors.
        what: What runs there, for the errors.

    Yields:
        None; the run belongs inside.

    Raises:
        ConfigError: If another run holds the lock, naming its process, or the folder cannot be
            written.
    """
    make_folder(work_dir, option)
    path = work_dir / LOCK
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(
            f'another {what} runs in {work_dir}{_holder(path)}: wait for its end, or choose '
            f'another {option}'
        ) from error
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise ConfigError(f'{path} cannot be locked: {error.strerror or error}') from error
        say(
            f'{work_dir} is on a file system without locks: a second {what} in this folder '
            'would not be noticed'
        )
        yield
        return
    try:
        _name_holder(path)
        yield
    finally:
        lock.release()


def _name_holder(lock: Path) -> None:
    try:
        lock.write_text(f'process {os.getpid()} on {socket.gethostname()}\n')
    except OSError as error:  # a full disk
        raise ConfigError(f'{lock} cannot be written: {error.strerror}') from error


def _holder(lock: Path) -> str:
    with open(lock, 'rb') as file:
        found = _HOLDER.search(file.read(1000).decode(errors='replace'))
    return f' ({found[0]})' if found else ''
