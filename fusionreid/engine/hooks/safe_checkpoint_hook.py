"""What a checkpoint may hold: tensors, primitive values, and names inside the work dir."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, is_dataclass
from numbers import Real
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from fusionreid.registry import HOOKS

# What MMEngine removes when there is a better one: its keys in the message hub, and its file names.
_BEST_KEY = 'best_ckpt'
_BEST_NAME = re.compile(r'best_[^/\\]+\.pth')
_LAST_KEY, _KEPT_KEY, _SCORE_KEY = 'last_ckpt', 'keep_ckpt_ids', 'best_score'


def to_primitives(value: Any) -> Any:
    """Turn NumPy scalars and arrays into Python numbers and lists, data classes into dicts.

    Args:
        value: The value; what dicts, lists and tuples hold is turned too.

    Returns:
        The value in Python's types; other objects stay.

    Example:
        >>> to_primitives({'lr': np.float64(0.1), 'ids': (np.arange(3), 'all')})
        {'lr': 0.1, 'ids': ([0, 1, 2], 'all')}
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {key: to_primitives(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_primitives(item) for item in value)
    return value


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Keeps checkpoints to primitive values, and to names of files instead of paths.

    MMEngine stores its log history as objects, which ``torch.load(weights_only=True)`` refuses,
    and absolute paths of checkpoints, which it removes when the training is resumed: those of
    another run, if the work dir is a copy, and any file or folder, if the checkpoint is crafted.
    """

    priority = 'VERY_LOW'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Replace history buffers, NumPy values and paths.

        Args:
            runner: The runner.
            checkpoint: What will be saved; changed in place.
        """
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {
            name: dict(
                log_history=buffer._log_history.tolist(),
                count_history=buffer._count_history.tolist(),
                max_length=buffer.max_length,
            )
            for name, buffer in hub['log_scalars'].items()
        }
        hub['runtime_info'] = {
            key: Path(value).name if _is_path(key) and value else value
            for key, value in to_primitives(hub['runtime_info']).items()
        }
        checkpoint['meta'] = to_primitives(checkpoint['meta'])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Rebuild the history buffers, and find the named files in the work dir.

        Paths to elsewhere, and names that are no checkpoints there, are set aside.

        Args:
            runner: The runner.
            checkpoint: What was loaded; changed in place.
        """
        if not runner._resume:  # the weights alone are taken
            return
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {
            name: HistoryBuffer(**buffer) if isinstance(buffer, dict) else buffer
            for name, buffer in hub['log_scalars'].items()
        }
        hub['runtime_info'], set_aside = confine(hub['runtime_info'], checkpoint_folder(runner))
        if set_aside:
            runner.logger.warning(
                f'{", ".join(set_aside)} of {runner._load_from} is set aside: it names no '
                f'checkpoint in {runner.work_dir}, or is no score'
            )


def _is_path(key: Any) -> bool:
    return isinstance(key, str) and key.startswith((_BEST_KEY, _LAST_KEY))


def checkpoint_folder(runner: Runner) -> Path:
    """Find where MMEngine's hook will save checkpoints, before the training starts.

    Args:
        runner: The runner.

    Returns:
        The work dir; a folder of its name below the hook's ``out_dir``, if it has one.
    """
    work_dir = Path(runner.work_dir)
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.out_dir not in (None, runner.work_dir):
            return Path(hook.out_dir) / work_dir.name
    return work_dir


def confine(info: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Reduce what a checkpoint says of other checkpoints to files of a folder, and to scores.

    Args:
        info: ``runtime_info`` of MMEngine's message hub.
        folder: Where the run saves checkpoints.

    Returns:
        The same with absolute paths of files that are in the folder, and the names of the entries
        that are left out.

    Example:
        >>> confine({'best_ckpt': '/home/someone', 'best_score': 0.5}, Path('work_dirs'))
        ({'best_score': 0.5}, ['best_ckpt'])
    """
    kept, set_aside = dict(info), []
    for key, value in info.items():
        if _is_path(key) and value is not None:
            name = PurePath(value.replace('\\', '/')).name if isinstance(value, str) else ''
            path = folder / name
            is_known = _BEST_NAME.fullmatch(name) if key.startswith(_BEST_KEY) else name
            if is_known and path.is_file():
                kept[key] = str(path)
                continue
        elif isinstance(key, str) and key.startswith(_SCORE_KEY):
            if isinstance(value, Real) and math.isfinite(value):
                continue
        elif key != _KEPT_KEY or (
            isinstance(value, list) and all(type(number) is int for number in value)
        ):
            continue
        del kept[key]
        set_aside.append(str(key))
    return kept, set_aside
