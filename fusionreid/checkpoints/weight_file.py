"""Reading and writing weight files without trusting them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

from fusionreid.errors import WeightsError
from fusionreid.utils.files import open_atomic

from .downloads import download
from .tensor_checksums import verify_tensors
from .torch_file import RefusedError, read_torch_file
from .zoo_names import resolve_zoo_name

# Where files keep their state dict, tried in this order: Lightning and OpenMMLab, DeiT and MAE,
# T2T-ViT, DINO and its descendants.
WRAPPERS = ('state_dict', 'model', 'state_dict_ema', 'teacher', 'student')


def locate_weight_file(source: str | Path) -> Path:
    """Find the file behind a path or an address, so that what is checked is what is loaded.

    Args:
        source: Path, or an ``http(s)://`` address, see
            :func:`~fusionreid.checkpoints.downloads.download`, or a name of a model zoo, see
            :func:`~fusionreid.checkpoints.zoo_names.resolve_zoo_name`.

    Returns:
        Path of a file that is there.

    Raises:
        WeightsError: If there is no such file, or it cannot be downloaded.
    """
    source = resolve_zoo_name(str(source))
    if source.startswith(('http://', 'https://')):
        return download(source)
    path = Path(source).expanduser()
    if not path.is_file():
        if '://' in source:
            raise WeightsError(
                f'{source}: expected a file, an http(s):// address or a name such as '
                f'torchvision://resnet50; download the file and give its path'
            )
        raise WeightsError(f'{path}: there is no such file')
    return path


def read_weight_file(source: str | Path, with_tensors: bool = True) -> Any:
    """Read a file of weights; nothing in it is executed, nor takes more memory than the file.

    Args:
        source: Path of a PyTorch or ``.safetensors`` file, or an ``http(s)://`` address.
        with_tensors: Whether tensors are read; without them a PyTorch file is checked in a moment,
            and they are on the meta device.

    Returns:
        What the file holds, on the CPU; usually a dict. Options of a training come as
        :class:`~fusionreid.checkpoints.torch_file.SkippedObject`.

    Raises:
        WeightsError: If there is no such file, or it is damaged, of another kind, wants to run
            code, claims to be larger than it is, or its tensors do not have the checksums that it
            carries.
    """
    path = locate_weight_file(source)
    content = read_unverified(path, with_tensors)
    if with_tensors:
        try:
            verify_tensors(content)
        except WeightsError as error:
            raise WeightsError(f'{path}: {error}') from error
    return content


def read_unverified(path: Path, with_tensors: bool = True) -> Any:
    """Read a file of weights as :func:`read_weight_file` does, but compare no checksums.

    Args:
        path: The file.
        with_tensors: As there.

    Returns:
        What the file holds.

    Raises:
        WeightsError: As there, but for checksums that differ.
    """
    try:
        if path.suffix == '.safetensors':
            return load_safetensors(path)
        return read_torch_file(path, with_tensors)
    except RefusedError as error:
        raise WeightsError(f'{path}: refused, {error}') from error
    except Exception as error:  # a damaged or hand-made file can make the readers fail in any way
        raise WeightsError(f'{path}: not a weight file, or damaged ({_brief(error)})') from error


def _brief(error: Exception) -> str:
    text = str(error).strip().partition('\n')[0].partition('. ')[0]
    return text if ' ' in text else f'{type(error).__name__} {text}'.rstrip()


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
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(
                f'entry {name!r:.80} is a {type(value).__name__}, expected a tensor under a text: '
                f'a dict of weights, or one under {", ".join(map(repr, WRAPPERS))}'
            )
    return dict(state), wrapper


def count_not_finite(state: dict[str, Tensor]) -> Iterator[tuple[str, int]]:
    """Find the tensors that no model can compute with.

    Args:
        state: State dict.

    Yields:
        Name of a tensor with NaN or infinite values, and how many of them it has.

    Example:
        >>> nan, infinity = float('nan'), float('inf')
        >>> state = dict(a=torch.zeros(1), b=torch.tensor([1.0, nan, -infinity]))
        >>> list(count_not_finite(state))
        [('b', 2)]
    """
    for name, value in state.items():
        # PyTorch cannot tell of its 8-bit numbers.
        wide = value.float() if value.is_floating_point() and value.itemsize == 1 else value
        finite = wide.isfinite()
        if not finite.all():
            yield name, int((~finite).sum())


def check_finite(state: dict[str, Tensor]) -> None:
    """Refuse weights that no model can compute with.

    Args:
        state: State dict.

    Raises:
        WeightsError: Naming the first tensor with a NaN or infinite value.
    """
    for name, _ in count_not_finite(state):
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
