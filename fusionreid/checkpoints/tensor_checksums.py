"""Checksums over the tensors of a checkpoint, which it carries in its ``meta``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from fusionreid.errors import WeightsError

META = 'meta'
CHECKSUMS = 'tensor_sha256'
_CONTAINERS = (Mapping, list, tuple)


def _walk(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """All tensors below a value, each with where it stands; nothing else counts."""
    if isinstance(value, Tensor):
        yield path, value
        return
    # Once each, as pickle keeps them: a few that hold each other twice would make billions.
    if id(value) in seen:
        return
    seen.add(id(value))
    for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
        if isinstance(item, (Tensor, *_CONTAINERS)):
            name = repr(key) if isinstance(key, (str, int)) else type(key).__name__
            yield from _walk(item, f'{path}/{name}', seen)


def _tensors(content: Mapping[str, Any]) -> dict[str, list[tuple[str, Tensor]]]:
    """What :func:`_walk` finds below each entry that holds tensors."""
    found = {}
    for name, value in content.items():
        if isinstance(value, (Tensor, *_CONTAINERS)) and (parts := list(_walk(value, '', set()))):
            found[name] = parts
    return found


def count_bytes(content: Mapping[str, Any]) -> int:
    """Number of bytes of all tensors that :func:`compute_checksums` reads.

    Args:
        content: The checkpoint.

    Returns:
        The bytes.

    Example:
        >>> count_bytes(dict(state_dict=dict(weight=torch.ones(2)), epoch=3))
        8
    """
    return sum(tensor.nbytes for parts in _tensors(content).values() for _, tensor in parts)


def compute_checksums(
    content: Mapping[str, Any], report: Callable[[int], None] | None = None
) -> dict[str, str]:
    """Compute a checksum for every entry of a checkpoint that holds tensors.

    Names, types, shapes and values of the tensors count, and their order. They are hashed where
    they are, without a copy, by several threads.

    Args:
        content: The checkpoint, on the CPU.
        report: Is told the number of bytes of each tensor.

    Returns:
        SHA-256 checksums by the name of the entry, such as ``state_dict``.

    Example:
        >>> list(compute_checksums(dict(state_dict=dict(weight=torch.ones(2)), epoch=3)))
        ['state_dict']
    """
    checksums = {}
    with ThreadPoolExecutor() as pool:
        for name, parts in _tensors(content).items():
            total = hashlib.sha256()
            digests = pool.map(_digest, (tensor for _, tensor in parts))
            for (path, tensor), digest in zip(parts, digests, strict=True):
                total.update(f'{path} {tensor.dtype} {list(tensor.shape)}\n'.encode())
                total.update(digest)
                if report is not None:
                    report(tensor.nbytes)
            checksums[name] = total.hexdigest()
    return checksums


def _digest(tensor: Tensor) -> bytes:
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return hashlib.sha256(plain.reshape(-1).view(torch.uint8).numpy().data).digest()


def add_checksums(checkpoint: dict[str, Any]) -> None:
    """Put the checksums of all tensors into ``meta``.

    Args:
        checkpoint: What will be saved, with a dict under ``meta``; changed in place.
    """
    checkpoint[META][CHECKSUMS] = compute_checksums(checkpoint)


def stored_checksums(content: Any) -> dict[str, str]:
    """Find the checksums that a checkpoint carries.

    Args:
        content: What a weight file holds.

    Returns:
        Checksums by the name of the entry; empty if it carries none, as other projects' do not.

    Raises:
        WeightsError: They are there, but are no checksums.
    """
    meta = content.get(META) if isinstance(content, Mapping) else None
    stored = meta.get(CHECKSUMS) if isinstance(meta, Mapping) else None
    if stored is None:
        return {}
    if not isinstance(stored, Mapping):
        raise WeightsError(f'{META}.{CHECKSUMS} is {stored!r:.80}, not a dict of checksums')
    return dict(stored)


def verify_tensors(content: Any, report: Callable[[int], None] | None = None) -> dict[str, str]:
    """Compare the tensors of a checkpoint with the checksums that it carries, if it does.

    An entry that was left out, such as the optimizer of a published checkpoint, is not missed.

    Args:
        content: What a weight file holds, on the CPU.
        report: Is told the number of bytes of each tensor.

    Returns:
        The checksums of the entries that were compared.

    Raises:
        WeightsError: Naming the first entry with other tensors.
    """
    stored = stored_checksums(content)
    compared = {name: content[name] for name in stored if name in content}
    found = compute_checksums(compared, report)
    for name in compared:
        if found.get(name) != stored[name]:
            raise WeightsError(
                f'the tensors of {name!r} are not those that were saved, their checksum differs: '
                f'copy the file again from where it is whole, or take another checkpoint (who '
                f'changes tensors on purpose removes {META}.{CHECKSUMS})'
            )
    return found
