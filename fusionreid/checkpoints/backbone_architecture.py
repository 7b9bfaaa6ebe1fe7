"""The architecture of a backbone, inferred from the names and shapes of its weights."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from fusionreid.errors import WeightsError
from fusionreid.models.layers.position_embedding import guess_grid

# Blocks per stage, and whether they are bottlenecks.
RESNET_DEPTHS: dict[tuple[tuple[int, ...], bool], int] = {
    ((2, 2, 2, 2), False): 18,
    ((3, 4, 6, 3), False): 34,
    ((3, 4, 6, 3), True): 50,
    ((3, 4, 23, 3), True): 101,
    ((3, 8, 36, 3), True): 152,
}
INPUT_SIZES = ((256, 128), (384, 128))  # published, (height, width)
PATCH_STRIDES = (12, 16)


def select(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the entries below a prefix.

    Args:
        state: State dict.
        prefix: The prefix, with its dot.

    Returns:
        The entries, without the prefix in their names.

    Example:
        >>> import torch
        >>> list(select({'resnet.base.conv1.weight': torch.ones(1)}, 'resnet.base.'))
        ['conv1.weight']
    """
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }


def count_blocks(state: dict[str, Tensor], prefix: str) -> int:
    """Count the blocks ``<prefix>0.``, ``<prefix>1.``, ...

    Args:
        state: State dict.
        prefix: What stands before the number of a block.

    Returns:
        Number of blocks.

    Raises:
        WeightsError: If one is missing in between; nobody shall build a billion blocks for a name.
    """
    pattern = re.compile(re.escape(prefix) + r'(\d+)\.')
    numbers = {int(match[1]) for name in state if (match := pattern.match(name))}
    count = len(numbers)
    if numbers != set(range(count)):
        raise WeightsError(f'{prefix}* is numbered up to {max(numbers)}, but there are {count}')
    return count


def shape_of(state: dict[str, Tensor], name: str, dims: int) -> tuple[int, ...]:
    """Look up the shape of a tensor that has to be there.

    Args:
        state: State dict.
        name: Name of the tensor.
        dims: Number of axes that it has to have.

    Returns:
        The shape.

    Raises:
        WeightsError: If the tensor is missing or has another number of axes.
    """
    if name not in state:
        raise WeightsError(f'{name} is missing')
    shape = tuple(state[name].shape)
    if len(shape) != dims:
        raise WeightsError(f'{name} has shape {list(shape)}, expected {dims} axes')
    return shape


def infer_resnet(state: dict[str, Tensor]) -> dict[str, Any]:
    """Infer the arguments of a ResNet.

    Args:
        state: Its state dict under torchvision's names.

    Returns:
        ``depth``, and ``stem_channels`` and ``base_channels`` where they are not 64.

    Raises:
        WeightsError: If it is not a ResNet-18, 34, 50, 101 or 152.
    """
    blocks = tuple(count_blocks(state, f'layer{stage}.') for stage in (1, 2, 3, 4))
    depth = RESNET_DEPTHS.get((blocks, 'layer1.0.conv3.weight' in state))
    if depth is None:
        raise WeightsError(f'a ResNet with {blocks} blocks per stage is none of the known depths')
    found = dict(
        stem_channels=shape_of(state, 'conv1.weight', 4)[0],
        base_channels=shape_of(state, 'layer1.0.conv1.weight', 4)[0],
    )
    return dict(depth=depth, **{key: value for key, value in found.items() if value != 64})


def count_cameras(state: dict[str, Tensor]) -> int:
    """Number of cameras of a transformer's side information embedding; 0 without one."""
    return shape_of(state, 'sie_embed', 3)[0] if 'sie_embed' in state else 0


def count_patches(state: dict[str, Tensor]) -> int:
    """Number of patches of a transformer's position embedding, which starts with a class token."""
    return shape_of(state, 'pos_embed', 3)[1] - 1


def patch_grid(size: tuple[int, int], patch_size: int, stride: int) -> tuple[int, int]:
    """Compute the grid of a ViT's patches, without padding.

    Args:
        size: Image height and width.
        patch_size: Side of a patch in pixels.
        stride: Distance of neighboring patches in pixels.

    Returns:
        Rows and columns.

    Example:
        >>> patch_grid((256, 128), patch_size=16, stride=12)
        (21, 10)
    """
    return (size[0] - patch_size) // stride + 1, (size[1] - patch_size) // stride + 1


def fits_grid(num_patches: int, patch_size: int, size: tuple[int, int], stride: int) -> bool:
    """Say whether images of a size have so many patches.

    Args:
        num_patches: Number of patches.
        patch_size: Side of a patch in pixels.
        size: Image height and width.
        stride: Distance of neighboring patches in pixels.

    Returns:
        Whether they do; False for images smaller than a patch.
    """
    rows, columns = patch_grid(size, patch_size, stride)
    return rows > 0 and columns > 0 and rows * columns == num_patches


def describe_grid(num_patches: int) -> str:
    """Say which grid a position embedding probably has.

    Args:
        num_patches: Its length, without extra tokens.

    Returns:
        A text; the published sizes are tried first.

    Example:
        >>> describe_grid(210), describe_grid(196)
        ('21x10 patches (256x128 at stride 12)', '196 patches (probably 14x14)')
    """
    for size in INPUT_SIZES:
        for stride in PATCH_STRIDES:
            if fits_grid(num_patches, 16, size, stride):
                rows, columns = patch_grid(size, 16, stride)
                return f'{rows}x{columns} patches ({size[0]}x{size[1]} at stride {stride})'
    rows, columns = guess_grid(num_patches, (2, 1))
    return f'{num_patches} patches (probably {rows}x{columns})'
