"""Which checkpoint of a run a resumed training continues from."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import torch
from mmengine.logging import print_log


def find_resumable(work_dir: str | Path) -> Path | None:
    """Find the newest checkpoint of a run that can be read.

    mmengine's own record of it is an absolute path, which is wrong once the folder has moved, and
    may point to a file that was never finished.

    Args:
        work_dir: The run's folder, with files ``epoch_<n>.pth`` or ``iter_<n>.pth``.

    Returns:
        The readable checkpoint with the highest number, or None if there is none. Where a folder
        has both kinds, those by epoch come first.
    """
    numbered = [
        (match[1] == 'epoch', int(match[2]), path)
        for path in Path(work_dir).glob('*.pth')
        if (match := re.fullmatch(r'(epoch|iter)_(\d+)\.pth', path.name))
    ]
    for *_, path in sorted(numbered, reverse=True):
        try:
            torch.load(path, map_location='cpu', weights_only=True, mmap=True)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the file, the one before it is tried
            print_log(
                f'{path} cannot be read and is passed over: {error}', 'current', logging.WARNING
            )
            continue
        return path
    return None
