"""Tensors written as a safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file with the permissions of any new file.

    Args:
        path: The file, in an existing folder.
        tensors: Tensors by name, on any device.
        metadata: Texts by name.

    Raises:
        OSError: It cannot be written, for example because the disk is full.
    """
    # safetensors hides its files from everyone else.
    path.touch()
    mode = path.stat().st_mode
    content = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(content, path, metadata and dict(metadata))
    except SafetensorError as error:
        # Its word for whatever the operating system refuses.
        raise OSError(f'{path.name} cannot be written: {error}') from error
    path.chmod(mode)
