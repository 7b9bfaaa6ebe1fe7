"""Decoded images in memory that all workers share: how much is reserved, who fills it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log

from fusionreid.errors import ConfigError

SHARED_MEMORY = '/dev/shm'
GIB = 2**30


class SharedImageCache:
    """Decoded images of one size in shared memory.

    Whichever worker prepares an image first fills its place; all of them read it from then on. The
    memory is reserved at once and vanishes with the last process that uses it. Workers get the
    cache itself, whether they are forked or spawned, and so do copies of what holds it.

    Args:
        count: Number of images.
        size: Height and width of every image.
        name: What is cached, for the log.
        limit_gib: Largest size that is allowed, in GiB; None for all the shared memory that is
            free.

    Raises:
        ConfigError: If the images take more than the limit or than there is.
    """

    def __init__(
        self, count: int, size: tuple[int, int], name: str, limit_gib: float | None = None
    ) -> None:
        shape = (count, *size, 3)
        needed = count * (size[0] * size[1] * 3 + 8)
        free = free_shared_memory()
        stated = (
            f'the image cache of {name} takes {needed / GIB:.3g} GiB of shared memory '
            f'({count} images of {size[0]}x{size[1]})'
        )
        if limit_gib is not None and needed > limit_gib * GIB:
            raise ConfigError(
                f'{stated}, more than cache_limit_gib={limit_gib:g}: raise the limit, or set '
                'cache_images=False'
            )
        if free is not None and needed > free:
            raise ConfigError(f'{stated}, but {free / GIB:.3g} GiB are free. {_REMEDY}')
        print_log(f'{stated}; {_per_process(free)}', logger='current')
        try:
            self._images = torch.zeros(shape, dtype=torch.uint8).share_memory_()
            # Height and width of the image files in one word; 0 for an image that is not here yet.
            self._original_sizes = torch.zeros(count, dtype=torch.int64).share_memory_()
        except RuntimeError as error:
            raise ConfigError(f'{stated}, but there is not enough: {error}. {_REMEDY}') from error

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedImageCache:
        return self

    def get(self, index: int) -> tuple[np.ndarray, tuple[int, int]] | None:
        """Look up an image.

        Args:
            index: Position in the cache.

        Returns:
            The image, uint8 of shape (H, W, 3) and free to change, and the height and width of its
            file; None if it has not been put here yet.
        """
        original = int(self._original_sizes[index])
        if not original:
            return None
        return self._images[index].numpy().copy(), (original >> 32, original & 0xFFFFFFFF)

    def put(self, index: int, image: np.ndarray, original_size: tuple[int, int]) -> None:
        """Keep an image. Two workers may do so at once: they write the same bytes.

        That a reader who sees the size also sees the pixels relies on a processor whose stores
        become visible in their order, as those of x86 do; one of another kind, such as ARM, does
        not promise it.

        Args:
            index: Position in the cache.
            image: uint8 of shape (H, W, 3).
            original_size: Height and width of the image file.
        """
        self._images[index].numpy()[:] = image
        # After the pixels, so that nobody reads an image of which only a part is here.
        self._original_sizes[index] = original_size[0] << 32 | original_size[1]

    @property
    def filled(self) -> int:
        """Number of images that are here."""
        return int(self._original_sizes.count_nonzero())


_REMEDY = (
    'Set cache_images=False, use smaller images, or give the machine more '
    '(docker run --ipc=host or --shm-size).'
)


def _per_process(free: int | None) -> str:
    text = 'filled while images are first used'
    if free is not None:
        text += f'; {free / GIB:.3g} GiB are free'
    processes = get_world_size()
    return text if processes == 1 else f'{text}; each of the {processes} processes has its own'


def free_shared_memory() -> int | None:
    """Bytes of shared memory that are free on this machine; None where that cannot be asked."""
    try:
        status = os.statvfs(SHARED_MEMORY)
    except (OSError, AttributeError):
        return None
    return status.f_bavail * status.f_frsize
