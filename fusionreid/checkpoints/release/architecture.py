"""Which model a released state dict belongs to, inferred from names and shapes."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from fusionreid.errors import WeightsError

from ..backbone_architecture import (
    INPUT_SIZES,
    PATCH_STRIDES,
    count_blocks,
    count_cameras,
    count_patches,
    fits_grid,
    infer_resnet,
    patch_grid,
    select,
    shape_of,
)
from .released_keys import MFU_OWNERS, SEU_OWNERS

HEAD_WIDTH = 64  # of the attention heads of ViT, DeiT and T2T-ViT, all sizes
NECK_HEADS = 12  # of the released HTM, at any width
T2T_STRIDE = 16
CLASSIFIER = re.compile(r'(?:(?:resnet|transformer)\.classifier|classifier_[1-4])\.weight')


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
    fits = [pair for pair in tried if fits_grid(num_patches, patch_size, *pair)]
    if not fits and size and not stride:
        steps = range(1, patch_size + 1)
        fits = [(size, step) for step in steps if fits_grid(num_patches, patch_size, size, step)]
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
