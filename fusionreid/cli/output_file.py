"""Before the work: its result can be written after it, and nowhere else than it seems."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fusionreid.errors import ConfigError, UserError


def clear_links(folder: Path, *names: str) -> None:
    """Remove links and pipes from where files are going to be written.

    A folder from somewhere else may hold links to files outside of it, which writing would follow.

    Args:
        folder: Where the files are going to be.
        *names: Their names.
    """
    for name in names:
        path = folder / name
        if path.is_symlink() or path.is_fifo():
            path.unlink()


def check_output_file(out: Path) -> None:
    """Check that a file can be written, and make its folder.

    Raises:
        UserError: If it is a folder, or its folder cannot be written.
    """
    if out.is_dir():
        raise UserError(f'{out} is a folder: name a file to write')
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise UserError(f'{out} cannot be written: {error}') from error


def make_folder(path: str | Path, option: str) -> None:
    """Make a folder now, since after the work it would be too late to find that it cannot be.

    Args:
        path: The folder.
        option: What names it on the command line, for the error.

    Raises:
        ConfigError: If it cannot be made.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'{option} {path} cannot be made: {error.strerror}') from error
