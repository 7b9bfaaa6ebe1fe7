"""Which grid a position embedding belongs to, and how it is resized to another one."""

from __future__ import annotations

import math

from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor

# Grids of the published input sizes and strides: 256x128 and 384x128, each at 16 and 12.
PUBLISHED_GRIDS = {128: (16, 8), 210: (21, 10), 192: (24, 8), 310: (31, 10)}


def guess_grid(num_patches: int, like: tuple[int, int]) -> tuple[int, int]:
    """Guess the grid of a position embedding from its length.

    Args:
        num_patches: Number of patches, without extra tokens.
        like: A grid (rows, columns) that it probably has; else its aspect ratio settles which
            factorization is meant.

    Returns:
        ``like`` if the lengths agree, else a square grid if the length is a square (ImageNet
        checkpoints are), else that of a published input size, else the factorization whose
        aspect ratio is nearest to that of ``like``.

    Example:
        >>> guess_grid(196, like=(16, 8)), guess_grid(210, like=(16, 8))
        ((14, 14), (21, 10))
    """
    if num_patches == like[0] * like[1]:
        return like
    side = math.isqrt(num_patches)
    if side * side == num_patches:
        return side, side
    if num_patches in PUBLISHED_GRIDS:
        return PUBLISHED_GRIDS[num_patches]
    ratio = math.log(like[0] / like[1])
    rows = min(
        (rows for rows in range(1, num_patches + 1) if num_patches % rows == 0),
        key=lambda rows: abs(math.log(rows * rows / num_patches) - ratio),
    )
    return rows, num_patches // rows


def fit_position_embedding(
    embedding: Tensor, grid: tuple[int, int], like: tuple[int, int]
) -> Tensor:
    """Resize a position embedding with one extra token to a grid.

    It is interpolated bilinearly, as in the published recipe.

    Args:
        embedding: Position embedding of shape ``(1, 1 + N, D)``, class token first.
        grid: The grid (rows, columns) that is wanted.
        like: The grid that the embedding has or resembles; see :func:`guess_grid`.

    Returns:
        Position embedding of shape ``(1, 1 + rows * columns, D)``; the same tensor where nothing
        changes.

    Example:
        >>> import torch
        >>> fit_position_embedding(torch.rand(1, 1 + 196, 8), (16, 8), like=(14, 14)).shape
        torch.Size([1, 129, 8])
    """
    source = guess_grid(embedding.shape[1] - 1, like)
    return resize_pos_embed(embedding, source, grid, mode='bilinear', num_extra_tokens=1)
