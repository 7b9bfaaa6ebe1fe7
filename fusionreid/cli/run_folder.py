"""A run folder has one owner: one training at a time, and the files of one run."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from mmengine.config import Config

from fusionreid.checkpoints import find_resumable
from fusionreid.checkpoints.run_files import (
    later_checkpoints,
    run_checkpoints,
    run_logs,
    unfinished_checkpoints,
)
from fusionreid.errors import ConfigError
from fusionreid.utils.terminal import say

from .folder_lock import locked
from .output_file import clear_links
from .runner_config import written_in_place


def checkpoint_folder(cfg: Config) -> Path:
    """Find where MMEngine's hook will save checkpoints.

    Args:
        cfg: The config, with its ``work_dir``.

    Returns:
        The work dir; a folder of its name below the hook's ``out_dir``, if it has one on disk.
    """
    work_dir = Path(cfg.work_dir)
    out_dir = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('out_dir')
    if out_dir is None or '://' in str(out_dir):
        return work_dir
    return Path(out_dir) / work_dir.name


def take_folder(
    cfg: Config, named: str | None, resume: bool, overwrite: bool, stack: ExitStack
) -> str | None:
    """Make a run folder that of the training that starts.

    Args:
        cfg: The config, with its ``work_dir``.
        named: Checkpoint that the training starts from, if one is named.
        resume: Whether a run is continued; without a named checkpoint, the newest in the folder
            that can be.
        overwrite: Whether a run in the folder is moved aside.
        stack: Keeps the lock of the folder.

    Returns:
        The checkpoint that is continued; None for a new run.

    Raises:
        ConfigError: If another training runs in the folder, it holds the checkpoints of another
            run, or it cannot be written.
        WeightsError: If the run cannot be continued from any of its checkpoints.
    """
    check_owner(cfg, named, resume, overwrite)  # before anything is written
    stack.enter_context(locked(Path(cfg.work_dir)))
    check_owner(cfg, named, resume, overwrite)
    remove_unfinished(cfg)
    start = _find_start(cfg, named, resume)
    for folder in _folders(cfg):
        clear_links(folder, *written_in_place(cfg))
    return start


def _find_start(cfg: Config, named: str | None, resume: bool) -> str | None:
    """Find the checkpoint that is continued, and move aside whatever is not."""
    folder = checkpoint_folder(cfg)
    if resume and named is None:
        found = find_resumable(folder)
        if found is None:
            clear_folder(cfg)
        return None if found is None else str(found)
    if named is not None and _is_inside(named, folder):
        later = later_checkpoints(folder, Path(named))
        if later:
            say(_moved(later, move_aside(folder, later)))
    else:
        clear_folder(cfg)
    return named if resume else None


def check_owner(cfg: Config, named: str | None, resume: bool, overwrite: bool) -> None:
    """Refuse a training that would mix its files with those of another run.

    Args:
        cfg: The config.
        named: As for :func:`take_folder`.
        resume: As for :func:`take_folder`.
        overwrite: As for :func:`take_folder`.

    Raises:
        ConfigError: If the folder holds checkpoints of another run, with the ways out; or the
            named checkpoint is one of those that are to be moved.
    """
    found = [path for each in _folders(cfg) for path in run_checkpoints(each)]
    if not found:
        return
    is_inside = named is not None and _is_inside(named, checkpoint_folder(cfg))
    if overwrite and is_inside:
        raise ConfigError(
            f'{named} is one of the checkpoints that --overwrite moves aside: copy it elsewhere, '
            'or choose another --work-dir'
        )
    if overwrite or (resume and (named is None or is_inside)):
        return
    more = f' and {len(found) - 1} more' if len(found) > 1 else ''
    other = f', and {named} is none of them' if resume else ''
    raise ConfigError(
        f'{found[0].parent} holds the checkpoints of a run ({found[0].name}{more}){other}: '
        'continue it with --resume, move it aside with --overwrite, or choose another --work-dir'
    )


def remove_unfinished(cfg: Config) -> None:
    """Remove what killed trainings were writing, and nothing else.

    Args:
        cfg: The config; the lock of its ``work_dir`` is held.
    """
    for folder in _folders(cfg):
        for path in unfinished_checkpoints(folder):
            path.unlink()
            say(f'removed {path}, which a killed training has left unfinished')


def clear_folder(cfg: Config) -> None:
    """Move checkpoints and logs of the run before into a folder inside their own.

    Args:
        cfg: The config; the lock of its ``work_dir`` is held.
    """
    for folder in _folders(cfg):
        if checkpoints := run_checkpoints(folder):
            paths = checkpoints + run_logs(folder)
            say(_moved(paths, move_aside(folder, paths)))


def move_aside(folder: Path, paths: list[Path]) -> Path:
    """Move files into a new folder inside their own.

    Args:
        folder: Where they are.
        paths: The files and folders.

    Returns:
        The new folder, ``previous_<date>_<time>``, with a number behind it if there is one of this
        second.

    Raises:
        ConfigError: If they cannot be moved.
    """
    name = time.strftime('previous_%Y%m%d_%H%M%S')
    number = 0
    try:
        while True:
            target = folder / (f'{name}_{number}' if number else name)
            try:
                target.mkdir()
                break
            except FileExistsError:
                number += 1
        for path in paths:
            path.rename(target / path.name)
    except OSError as error:
        raise ConfigError(f'{folder} cannot be cleared: {error}') from error
    return target


def _moved(paths: list[Path], target: Path) -> str:
    more = f' and {len(paths) - 1} more' if len(paths) > 1 else ''
    return f'moved {paths[0].name}{more} of the run before to {target}'


def _is_inside(path: str, folder: Path) -> bool:
    return Path(path).resolve().parent == folder.resolve()


def _folders(cfg: Config) -> list[Path]:
    """The work dir, and that of the checkpoints if it is another one."""
    return list(dict.fromkeys([Path(cfg.work_dir), checkpoint_folder(cfg)]))
