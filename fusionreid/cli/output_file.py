"""Checks before the work that its result can be written after it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fusionreid.errors import UserError


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
