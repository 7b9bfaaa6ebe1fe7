"""Reading and writing weight files without trusting them."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

from fusionreid.errors import WeightsError
from fusionreid.utils.files import open_atomic

# Where files keep their state dict, tried in this order: Lightning and OpenMMLab, DeiT and MAE,
# T2T-ViT, DINO and its descendants.
WRAPPERS = ('state_dict', 'model', 'state_dict_ema', 'teacher', 'student')


class SkippedObject:
    """Stands in for an object of a file that is of no interest, such as a training log."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


# What training frameworks write beside the weights: options (DINO, MAE, DeiT) and logs (mmengine).
# The names are given to the stand-in, so nothing of what they stand for is ever called.
SKIPPED_GLOBALS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (SkippedObject, name)
    for name in (
        'argparse.Namespace',
        'builtins.getattr',
        'mmengine.logging.history_buffer.HistoryBuffer',
        'numpy.dtype',
        'numpy.ndarray',
        'numpy.core.multiarray._reconstruct',
        'numpy.core.multiarray.scalar',
        'numpy._core.multiarray._reconstruct',
        'numpy._core.multiarray.scalar',
    )
]


def read_weight_file(source: str | Path) -> Any:
    """Read a file of weights; nothing in it is ever executed.

    Args:
        source: Path of a PyTorch or ``.safetensors`` file, or an ``http(s)://`` address, which is
            downloaded to PyTorch's hub folder first.

    Returns:
        What the file holds, on the CPU; usually a dict. Options and logs of the training come as
        :class:`SkippedObject`.

    Raises:
        WeightsError: If there is no such file, or it is damaged, of another kind, or wants to run
            code.
    """
    source = str(source)
    if source.startswith(('http://', 'https://')):
        source = _download(source)
    elif '://' in source:
        raise WeightsError(
            f'{source}: expected a file or an http(s):// address; download the file and give its '
            f'path'
        )
    path = Path(source)
    if not path.is_file():
        raise WeightsError(f'{path}: there is no such file')
    try:
        if path.suffix == '.safetensors':
            return load_safetensors(path)
        with torch.serialization.safe_globals(SKIPPED_GLOBALS), warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='Detected pickle protocol')
            return torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(f'{path}: refused, {_explain(error)}') from error
    except Exception as error:  # a damaged or hand-made file can make the readers fail in any way
        raise WeightsError(f'{path}: not a weight file, or damaged ({_brief(error)})') from error


def _download(url: str) -> str:
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    path = folder / Path(url.split('?')[0]).name
    if not path.name:
        raise WeightsError(f'{url}: the address does not name a file')
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            # Only fetched here: torch.hub's own loader would leave safetensors aside.
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except OSError as error:
            raise WeightsError(f'{url}: the download failed ({_brief(error)})') from error
    return str(path)


def _brief(error: Exception) -> str:
    text = str(error).strip().partition('\n')[0].partition('. ')[0]
    return text if ' ' in text else f'{type(error).__name__} {text}'.rstrip()


def _explain(error: pickle.UnpicklingError) -> str:
    # torch wraps its reason in advice to load the file without protection.
    reason = str(error).partition('WeightsUnpickler error:')[2].strip() or str(error)
    name = re.search(r'GLOBAL (\S+)', reason)
    if name:
        return f'since it holds more than weights: loading it would run {name[1]}'
    return f'since it is no file of weights, or damaged ({reason.splitlines()[0]})'


def find_state_dict(content: Any) -> tuple[dict[str, Tensor], str]:
    """Find the state dict in what a weight file holds.

    Args:
        content: What :func:`read_weight_file` gives.

    Returns:
        The state dict, and the name under which it was found (``''`` for one at the top level).
        Prefixes such as ``module.`` are still there.

    Raises:
        WeightsError: If there is no state dict.

    Example:
        >>> state, wrapper = find_state_dict(dict(teacher=dict(weight=torch.zeros(1)), epoch=3))
        >>> list(state), wrapper
        (['weight'], 'teacher')
    """
    if not isinstance(content, Mapping):
        raise WeightsError(f'holds a {type(content).__name__}, not a dict of weights')
    wrapper = next((name for name in WRAPPERS if isinstance(content.get(name), Mapping)), '')
    state = content[wrapper] if wrapper else content
    if not state:
        raise WeightsError('holds no weights: the dict is empty')
    wrong = next(
        (
            name
            for name, value in state.items()
            if not isinstance(name, str) or not isinstance(value, Tensor)
        ),
        None,
    )
    if wrong is not None:
        raise WeightsError(
            f'entry {wrong!r} is a {type(state[wrong]).__name__}, not a tensor; expected a dict of '
            f'weights, or one under {", ".join(repr(name) for name in WRAPPERS)}'
        )
    return dict(state), wrapper


def first_not_finite(state: dict[str, Tensor]) -> str | None:
    """Find a tensor that no model can compute with.

    Args:
        state: State dict.

    Returns:
        Name of the first tensor with a NaN or infinite value; None if there is none.

    Example:
        >>> first_not_finite(dict(a=torch.zeros(1), b=torch.tensor([1.0, float('nan')])))
        'b'
    """
    return next((name for name, value in state.items() if not value.isfinite().all()), None)


def check_finite(state: dict[str, Tensor]) -> None:
    """Refuse weights that no model can compute with.

    Args:
        state: State dict.

    Raises:
        WeightsError: Naming the first tensor with a NaN or infinite value.
    """
    name = first_not_finite(state)
    if name is not None:
        raise WeightsError(
            f'{name} holds a NaN or infinite value: the training diverged, or the file is damaged'
        )


def read_state_dict(source: str | Path) -> dict[str, Tensor]:
    """Read the state dict of a file; see :func:`read_weight_file` and :func:`find_state_dict`.

    Args:
        source: Path or address, as for :func:`read_weight_file`.

    Returns:
        The state dict.

    Raises:
        WeightsError: As these do, and for values that are not finite.
    """
    content = read_weight_file(source)
    try:
        state = find_state_dict(content)[0]
        check_finite(state)
    except WeightsError as error:
        raise WeightsError(f'{source}: {error}') from error
    return state


def write_weight_file(content: dict[str, Any], path: str | Path) -> None:
    """Write a PyTorch file that appears whole or not at all.

    Args:
        content: Tensors and primitive values.
        path: Where to.

    Raises:
        WeightsError: If it cannot be written.
    """
    try:
        with open_atomic(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f'{path}: cannot be written ({_brief(error)})') from error
