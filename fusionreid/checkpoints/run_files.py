"""The files that a training run leaves in its folder, known by their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

LAST_CHECKPOINT = 'last_checkpoint'
# MMEngine's names of checkpoints with the number of finished epochs or iterations, and ours.
_NUMBERED = re.compile(r'(?P<kind>epoch|iter)_(?P<number>\d+)\.pth')
_INTERRUPTED = re.compile(r'interrupted_after_epoch_(?P<number>\d+)\.pth')
_BEST = re.compile(r'best_.+_(?P<kind>epoch|iter)_(?P<number>\d+)\.pth')
_CHECKPOINT = re.compile(r'((epoch|iter)_\d+|interrupted_after_epoch_\d+|best_.+)\.pth')
# As fusionreid.utils.files.atomic_path names what it has not finished.
_UNFINISHED = re.compile(_CHECKPOINT.pattern + r'\.\d+\.part')
# MMEngine's folder of the logs of one start.
_LOGS = re.compile(r'\d{8}_\d{6}')


def interrupted_name(epochs: int) -> str:
    """Name the checkpoint of a training that was stopped between two checkpoints.

    Args:
        epochs: Finished epochs.

    Returns:
        Name of the file; :func:`training_position` puts it between those of two epochs.

    Example:
        >>> interrupted_name(3)
        'interrupted_after_epoch_3.pth'
    """
    return f'interrupted_after_epoch_{epochs}.pth'


def training_position(name: str) -> tuple[bool, int, bool] | None:
    """Tell how far a training was when it saved a checkpoint.

    Args:
        name: Name of the file.

    Returns:
        A key that orders checkpoints from which a training can go on; those by epoch come after
        those by iteration. None for other files.

    Example:
        >>> names = ['epoch_10.pth', 'best_reid_mAP_epoch_8.pth', 'epoch_9.pth']
        >>> sorted(filter(training_position, [*names, interrupted_name(9)]), key=training_position)
        ['epoch_9.pth', 'interrupted_after_epoch_9.pth', 'epoch_10.pth']
    """
    if match := _NUMBERED.fullmatch(name):
        return match['kind'] == 'epoch', int(match['number']), False
    if match := _INTERRUPTED.fullmatch(name):
        return True, int(match['number']), True
    return None


def run_checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints of a run, the record of its last one included.

    Args:
        folder: The folder, which need not exist.

    Returns:
        Whatever has the name of one, sorted by name.
    """
    return _named(folder, lambda name: name == LAST_CHECKPOINT or bool(_CHECKPOINT.fullmatch(name)))


def run_logs(folder: Path) -> list[Path]:
    """List the folders of logs of a run.

    Args:
        folder: The folder, which need not exist.

    Returns:
        One for each start, sorted by name.
    """
    return [path for path in _named(folder, _LOGS.fullmatch) if path.is_dir()]


def later_checkpoints(folder: Path, start: Path) -> list[Path]:
    """List the checkpoints that a run saved after one of its own.

    Args:
        folder: The run's folder.
        start: A checkpoint in it.

    Returns:
        The later ones, those with the best scores included, sorted by name.
    """
    position = training_position(start.name)
    if position is None:
        return []

    def is_later(name: str) -> bool:
        best = _BEST.fullmatch(name)
        later = training_position(f'{best["kind"]}_{best["number"]}.pth' if best else name)
        return later is not None and later[0] == position[0] and later > position

    return _named(folder, is_later)


def interrupted_before(folder: Path, epochs: int) -> list[Path]:
    """List the checkpoints of interrupted epochs that are over.

    Args:
        folder: The run's folder.
        epochs: Finished epochs.

    Returns:
        Those that were saved after fewer, sorted by name.
    """

    def is_over(name: str) -> bool:
        match = _INTERRUPTED.fullmatch(name)
        return match is not None and int(match['number']) < epochs

    return _named(folder, is_over)


def unfinished_checkpoints(folder: Path) -> list[Path]:
    """List what killed runs have left of checkpoints that they were writing.

    Args:
        folder: The folder, which need not exist.

    Returns:
        Regular files, sorted by name; links are left out.
    """
    found = _named(folder, _UNFINISHED.fullmatch)
    return [path for path in found if path.is_file() and not path.is_symlink()]


def _named(folder: Path, wanted: Callable[[str], object]) -> list[Path]:
    return sorted(path for path in _entries(folder) if wanted(path.name))


def _entries(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter(())
