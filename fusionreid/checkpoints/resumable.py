"""Which checkpoint of a run a resumed training continues from."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from mmengine.logging import print_log

from fusionreid.errors import WeightsError

from .weight_file import read_weight_file


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
            read_weight_file(path, with_tensors=False)
        except WeightsError as error:
            print_log(f'passed over, since it cannot be read: {error}', 'current', logging.WARNING)
            continue
        return path
    return None
