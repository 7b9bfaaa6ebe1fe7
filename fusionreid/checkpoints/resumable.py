"""Which checkpoint of a run a resumed training continues from."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor
from torch.utils._pytree import tree_leaves

from fusionreid.errors import WeightsError
from fusionreid.utils.terminal import say

from .run_files import LAST_CHECKPOINT, run_checkpoints, training_position
from .run_state import check_run_state
from .weight_file import check_finite, find_state_dict, read_weight_file

# What continuing needs besides the weights; MMEngine's Runner reads each of them.
PARTS = ('meta', 'message_hub', 'optimizer', 'param_schedulers')


def check_resumable(path: str | Path) -> None:
    """Refuse a file from which no training can continue.

    Args:
        path: The file.

    Raises:
        WeightsError: If it cannot be read, is no checkpoint, holds weights alone or a state of the
            training of another form, or holds a weight or a value of the optimizer that is NaN or
            infinite.
    """
    content = read_weight_file(path)
    try:
        find_state_dict(content)
        lacks = [part for part in PARTS if part not in content]
        if lacks:
            raise WeightsError(
                f'cannot be resumed, it lacks {", ".join(lacks)}; its weights alone can start a '
                f'new training, --cfg-options load_from={path}'
            )
        check_run_state(content)
        for part in ('state_dict', 'ema_state_dict', 'optimizer'):
            tensors = [leaf for leaf in tree_leaves(content.get(part)) if isinstance(leaf, Tensor)]
            check_finite({f'a tensor of {part}': tensor for tensor in tensors})
    except WeightsError as error:
        raise WeightsError(f'{path}: {error}') from error


def find_resumable(folder: str | Path) -> Path | None:
    """Find the newest checkpoint of a run from which a training can continue.

    MMEngine's own record of it is an absolute path, which is wrong once the folder has moved, and
    may point to a file that was never finished. Only a file of the folder itself is taken, and no
    link. What is passed over is printed with the reason.

    Args:
        folder: The run's folder, with files ``epoch_<n>.pth``, ``iter_<n>.pth`` or
            ``interrupted_after_epoch_<n>.pth``.

    Returns:
        The checkpoint with the highest number, or None if the folder has none. Where a folder has
        both kinds, those by epoch come first.

    Raises:
        WeightsError: If the folder has checkpoints, and none can be resumed.
    """
    folder = Path(folder)
    passed_over: list[tuple[Path, str]] = []
    for path in _newest_first(folder):
        try:
            if path.is_symlink():
                raise WeightsError(f'{path}: is a link, expected a file')
            check_resumable(path)
        except WeightsError as error:
            passed_over.append((path, str(error).removeprefix(f'{path}: ')))
            continue
        for bad, reason in passed_over:
            # A run has no log before it starts.
            say(f'{bad} is passed over: {reason}; training continues from {path.name}')
        return path
    if passed_over:
        reasons = '; '.join(f'{bad.name}: {reason}' for bad, reason in passed_over)
        raise WeightsError(
            f'{folder} holds no checkpoint that can be resumed ({reasons}): start anew with '
            '--overwrite, which moves them aside, or in another --work-dir'
        )
    return None


def _newest_first(folder: Path) -> list[Path]:
    files = run_checkpoints(folder)
    numbered = [(key, path) for path in files if (key := training_position(path.name))]
    ordered = [path for _, path in sorted(numbered, reverse=True)]
    return ordered + [path for path in _last_of_another_name(folder) if path not in ordered]


def _last_of_another_name(folder: Path) -> list[Path]:
    """The file of the folder that MMEngine's record names, for configs that choose other names."""
    record = folder / LAST_CHECKPOINT
    if record.is_symlink() or not record.is_file() or record.stat().st_size > 1 << 12:
        return []
    path = folder / Path(record.read_bytes().decode(errors='replace').strip()).name
    return [path] if path.is_file() and path.suffix == '.pth' else []
