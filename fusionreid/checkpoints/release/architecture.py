"""Which model a released state dict belongs to, inferred from names and shapes."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from fusionreid.errors import WeightsError
from fusionreid.models.layers.position_embedding import guess_grid

from .key_rules import MFU_OWNERS, SEU_OWNERS

# Blocks per stage, and whether they are bottlenecks.
RESNET_DEPTHS: dict[tuple[tuple[int, ...], bool], int] = {
    ((2, 2, 2, 2), False): 18,
    ((3, 4, 6, 3), False): 34,
    ((3, 4, 6, 3), True): 50,
    ((3, 4, 23, 3), True): 101,
    ((3, 8, 36, 3), True): 152,
}
HEAD_WIDTH = 64  # of the attention heads of ViT, DeiT and T2T-ViT, all sizes
NECK_HEADS = 12  # of the released HTM, at any width
INPUT_SIZES = ((256, 128), (384, 128))  # published, (height, width)
PATCH_STRIDES = (12, 16)
T2T_STRIDE = 16
CLASSIFIER = re.compile(r'(?:(?:resnet|transformer)\.classifier|classifier_[1-4])\.weight')


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


def attention_heads(embed_dims: int) -> int:
    """Number of attention heads of a ViT or T2T-ViT of that width."""
    if embed_dims % HEAD_WIDTH:
        raise WeightsError(
            f'a transformer of width {embed_dims} is unknown: expected a multiple of {HEAD_WIDTH}, '
            f'the width of a head'
        )
    return embed_dims // HEAD_WIDTH


def infer_vit(state: dict[str, Tensor]) -> dict[str, Any]:
    """Infer the arguments of a ViT or DeiT, all but its image size and stride.

    Args:
        state: Its state dict under timm's names.

    Returns:
        ``arch``, ``patch_size`` and ``num_cameras``.

    Raises:
        WeightsError: If it is another kind of transformer.
    """
    embed_dims, _, patch_size, _ = shape_of(state, 'patch_embed.proj.weight', 4)
    if 'blocks.0.attn.qkv.bias' not in state:
        raise WeightsError(
            "blocks.0.attn.qkv.bias is missing: the release's small ViT, whose attention is scaled "
            'in its own way, is not supported'
        )
    arch = dict(
        embed_dims=embed_dims,
        num_layers=count_blocks(state, 'blocks.'),
        num_heads=attention_heads(embed_dims),
        feedforward_channels=shape_of(state, 'blocks.0.mlp.fc1.weight', 2)[0],
    )
    return dict(arch=arch, patch_size=patch_size, num_cameras=count_cameras(state))


def infer_t2t(state: dict[str, Tensor]) -> dict[str, Any]:
    """Infer the arguments of a T2T-ViT, all but its image size.

    Args:
        state: Its state dict under the T2T-ViT project's names.

    Returns:
        ``embed_dims``, ``num_layers``, ``num_heads`` and ``num_cameras``.
    """
    embed_dims = shape_of(state, 'cls_token', 3)[2]
    return dict(
        embed_dims=embed_dims,
        num_layers=count_blocks(state, 'blocks.'),
        num_heads=attention_heads(embed_dims),
        num_cameras=count_cameras(state),
    )


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


def infer_size_and_stride(
    num_patches: int, patch_size: int, size: tuple[int, int] | None, stride: int | None
) -> tuple[tuple[int, int], int]:
    """Find the image size and the patch stride that a position embedding was made for.

    Args:
        num_patches: Its length, without the class token.
        patch_size: Side of a patch in pixels.
        size: Image height and width, if known. Otherwise the published sizes are tried.
        stride: Patch stride, if known. Otherwise the published strides are tried, and with a known
            size all up to the patch size.

    Returns:
        Image size and patch stride.

    Raises:
        WeightsError: If nothing fits, or more than one stride does.

    Example:
        >>> infer_size_and_stride(210, patch_size=16, size=None, stride=None)
        ((256, 128), 12)
    """
    sizes = [size] if size else INPUT_SIZES
    strides = [stride] if stride else PATCH_STRIDES
    tried = [(each, step) for each in sizes for step in strides]
    fits = [pair for pair in tried if _fits(num_patches, patch_size, *pair)]
    if not fits and size and not stride:
        steps = range(1, patch_size + 1)
        fits = [(size, step) for step in steps if _fits(num_patches, patch_size, size, step)]
    if len(fits) == 1:
        return fits[0]
    if fits:
        found = ', '.join(str(step) for _, step in fits)
        raise WeightsError(f'strides {found} all give {num_patches} patches: give --stride')
    grids = []
    for each, step in tried:
        rows, columns = patch_grid(each, patch_size, step)
        grids.append(
            f'{each[0]}x{each[1]} at stride {step} has {rows}x{columns} = {rows * columns}'
        )
    raise WeightsError(
        f'pos_embed has {num_patches} patches, but {"; ".join(grids)}: '
        f'give the --input-size and --stride of its training'
    )


def _fits(num_patches: int, patch_size: int, size: tuple[int, int], stride: int) -> bool:
    rows, columns = patch_grid(size, patch_size, stride)
    return rows > 0 and columns > 0 and rows * columns == num_patches


def infer_t2t_size(num_patches: int, size: tuple[int, int] | None) -> tuple[int, int]:
    """Find the image size that a T2T-ViT's position embedding was made for.

    Args:
        num_patches: Its length, without the class token.
        size: Image height and width, if known. Otherwise the published sizes are tried.

    Returns:
        Image height and width.

    Raises:
        WeightsError: If nothing fits.

    Example:
        >>> infer_t2t_size(192, size=None)
        (384, 128)
    """
    sizes = [size] if size else INPUT_SIZES
    for height, width in sizes:
        if height // T2T_STRIDE * (width // T2T_STRIDE) == num_patches:
            return height, width
    grids = '; '.join(f'{h}x{w} has {h // T2T_STRIDE * (w // T2T_STRIDE)}' for h, w in sizes)
    raise WeightsError(
        f'pos_embed has {num_patches} patches, but {grids}: give the --input-size of its training'
    )


def infer_transformer(
    state: dict[str, Tensor], size: tuple[int, int] | None = None, stride: int | None = None
) -> dict[str, Any]:
    """Infer the config of a transformer backbone.

    Args:
        state: Its state dict under the release's names.
        size: Image height and width, if known.
        stride: Patch stride, if known; a T2T-ViT has none.

    Returns:
        Config of :class:`~fusionreid.models.ReIDVisionTransformer` or
        :class:`~fusionreid.models.ReIDT2TViT`.

    Raises:
        WeightsError: If size or stride do not fit the position embedding.
    """
    num_patches = count_patches(state)
    if any(name.startswith('tokens_to_token.') for name in state):
        if stride:
            raise WeightsError(f'a T2T-ViT has no patch stride: leave --stride {stride} out')
        return dict(
            type='ReIDT2TViT', img_size=infer_t2t_size(num_patches, size), **infer_t2t(state)
        )
    found = infer_vit(state)
    size, stride = infer_size_and_stride(num_patches, found['patch_size'], size, stride)
    return dict(type='ReIDVisionTransformer', img_size=size, patch_stride=stride, **found)


def infer_neck(
    state: dict[str, Tensor], units: tuple[str, ...] | None = None, any_heads: bool = False
) -> dict[str, Any]:
    """Infer the config of the fusion neck.

    Args:
        state: State dict of the fusion model under the release's names.
        units: The units that a layer uses, in their order, if known. That leaves no trace in the
            weights; all that are there, SEU then MFU, are the release's default.
        any_heads: Whether another number of attention heads than the release's may be meant, which
            leaves no trace either.

    Returns:
        Config of :class:`~fusionreid.models.DualAttentionMutualFusion`.

    Raises:
        WeightsError: If one of the units is not in the weights, or the width is impossible.
    """
    embed_dims = shape_of(state, 'res_LRU.ptconv.weight', 4)[0]
    if embed_dims % NECK_HEADS and not any_heads:
        raise WeightsError(
            f'res_LRU.ptconv.weight has {embed_dims} channels, which the {NECK_HEADS} attention '
            f'heads of the released code do not divide'
        )
    owners = {name.split('.')[3] for name in state if name.startswith('HTM.blocks.')}
    present = {
        unit: set(names) & owners
        for unit, names in (('seu', SEU_OWNERS), ('mfu', MFU_OWNERS))
        if set(names) & owners
    }
    units = units or tuple(present) or ('seu', 'mfu')
    if present and not set(units) <= set(present):
        raise WeightsError(
            f'the weights have the units {" ".join(present)}, --units says {" ".join(units)}'
        )
    present = {unit: names for unit, names in present.items() if unit in units}
    shared = tuple(unit for unit, names in present.items() if names & {'SEU', 'MFU'})
    return dict(
        type='DualAttentionMutualFusion',
        embed_dims=embed_dims,
        num_layers=count_blocks(state, 'HTM.blocks.'),
        num_heads=NECK_HEADS,
        units=tuple(units),
        shared=shared,
        depthwise='res_LRU.dwconv.weight' in state,
    )


def infer_model(
    state: dict[str, Tensor],
    size: tuple[int, int] | None = None,
    stride: int | None = None,
    units: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    """Infer the config of the model that a released state dict belongs to.

    Args:
        state: State dict with the names that
            :func:`~fusionreid.checkpoints.release.key_renaming.normalize_original_names` gives.
        size: Image height and width, if known.
        stride: Patch stride of the ViT, if known.
        units: Units of an HTM in their order, if known.

    Returns:
        Config of :class:`~fusionreid.models.FusionReID`.

    Raises:
        WeightsError: If something is missing or does not fit together.
    """
    branches: dict[str, dict[str, Any]] = {}
    cnn = select(state, 'resnet.base.')
    if cnn:
        branches['cnn'] = dict(
            backbone=dict(type='ReIDResNet', stem='release', **infer_resnet(cnn)),
            pooling=dict(type='GeMPooling'),
        )
    transformer = select(state, 'transformer.base.')
    if transformer:
        branches['transformer'] = dict(backbone=infer_transformer(transformer, size, stride))
    elif stride:
        raise WeightsError('there is no transformer whose --stride matters')
    if not branches:
        raise WeightsError('there is neither a CNN (resnet.base.*) nor a transformer')
    has_neck = any(name.startswith('res_LRU.') for name in state)
    if units and not has_neck:
        raise WeightsError('there is no fusion neck whose --units matter')
    classifier = next((name for name in state if CLASSIFIER.fullmatch(name)), None)
    return dict(
        type='FusionReID',
        data_preprocessor=dict(
            type='ReIDDataPreprocessor', mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]
        ),
        branches=branches,
        neck=infer_neck(state, units) if has_neck else None,
        head=dict(type='BNNeckHead', num_classes=shape_of(state, classifier, 2)[0])
        if classifier
        else None,
    )


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
            if _fits(num_patches, 16, size, stride):
                rows, columns = patch_grid(size, 16, stride)
                return f'{rows}x{columns} patches ({size[0]}x{size[1]} at stride {stride})'
    rows, columns = guess_grid(num_patches, (2, 1))
    return f'{num_patches} patches (probably {rows}x{columns})'
