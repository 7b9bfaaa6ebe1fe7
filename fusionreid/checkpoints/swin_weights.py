"""What Swin weights of other projects need besides new names."""

from __future__ import annotations

import re

import torch
from torch import Tensor
from torch.nn.functional import linear, softplus

from fusionreid.errors import WeightsError

SOLIDER_LAYERS = re.compile(r'(?P<prefix>(?:.*\.)?)semantic_embed_[wb]\.(?P<stage>\d+)\.\w+')
_MERGING = re.compile(r'(?:.*\.)?layers\.\d+\.downsample\.(?:reduction|norm)\.\w+')


def is_patch_merging(name: str) -> bool:
    """Whether a name of the Swin project is of the layer that merges 2x2 patches.

    Args:
        name: Name of a weight.

    Returns:
        Whether its last axis is ordered by patch, see :func:`order_by_channel`.

    Example:
        >>> is_patch_merging('layers.0.downsample.reduction.weight')
        True
        >>> is_patch_merging('stages.0.downsample.reduction.weight')
        False
    """
    return _MERGING.fullmatch(name) is not None


def order_by_channel(value: Tensor) -> Tensor:
    """Reorder a weight of a patch merging layer for mmpretrain, which unfolds the patches.

    The Swin project concatenates the four patches of a 2x2 square column by column, each with all
    of its channels. ``torch.nn.Unfold`` gives the four values of the first channel, row by row,
    then those of the next.

    Args:
        value: Norm of shape ``(4C,)`` or reduction of shape ``(D, 4C)``, ordered by patch.

    Returns:
        The same values, ordered by channel.

    Example:
        >>> import torch
        >>> order_by_channel(torch.tensor([0, 10, 1, 11, 2, 12, 3, 13])).tolist()
        [0, 2, 1, 3, 10, 12, 11, 13]
    """
    return value.unflatten(-1, (2, 2, -1)).transpose(-1, -3).flatten(-3)


def has_semantic_layers(state: dict[str, Tensor]) -> bool:
    """Whether a state dict is that of SOLIDER, whose stages depend on a semantic weight."""
    return any(SOLIDER_LAYERS.fullmatch(name) for name in state)


def fold_semantic_weight(state: dict[str, Tensor], semantic_weight: float) -> dict[str, Tensor]:
    """Turn SOLIDER's Swin into a usual Swin with the same output, for one semantic weight.

    SOLIDER multiplies the input of each stage after the first by ``softplus(W [w, 1 - w] + a)`` and
    adds ``B [w, 1 - w] + b``; W, a, B and b are the stage's own. With a given ``w`` these are
    constants, and the linear layer before, which merges the patches, takes them up: its rows are
    scaled, and it gets a bias. What SOLIDER applies after the last stage never reaches its output,
    so these weights are left as they are.

    Args:
        state: State dict of SOLIDER, under mmpretrain's names below any prefix.
        semantic_weight: w in [0, 1]: 0 for the appearance of people, 1 for body parts.

    Returns:
        A state dict in which ``stages.<i>.downsample.reduction`` has a bias.

    Raises:
        WeightsError: If the weight is out of range, or layers are missing or of other shapes.
    """
    if not 0 <= semantic_weight <= 1:
        raise WeightsError(f'semantic_weight must be in [0, 1], got {semantic_weight}')
    condition = torch.tensor([semantic_weight, 1 - semantic_weight])
    folded = dict(state)
    for name in state:
        match = SOLIDER_LAYERS.fullmatch(name)
        if match is None or not name.endswith(f'semantic_embed_w.{match["stage"]}.weight'):
            continue
        prefix, stage = match['prefix'], match['stage']
        reduction = f'{prefix}stages.{stage}.downsample.reduction'
        if f'{reduction}.weight' not in state:
            continue  # the last stage
        factor = softplus(_apply(state, f'{prefix}semantic_embed_w.{stage}', condition))
        shift = _apply(state, f'{prefix}semantic_embed_b.{stage}', condition)
        weight = state[f'{reduction}.weight']
        if weight.shape[:1] != factor.shape:
            raise WeightsError(
                f'{reduction}.weight has shape {list(weight.shape)}, expected {len(factor)} rows '
                f'as {prefix}semantic_embed_w.{stage} has'
            )
        folded[f'{reduction}.weight'] = factor[:, None] * weight
        folded[f'{reduction}.bias'] = shift
        for layer in ('semantic_embed_w', 'semantic_embed_b'):
            for part in ('weight', 'bias'):
                del folded[f'{prefix}{layer}.{stage}.{part}']
    return folded


def _apply(state: dict[str, Tensor], layer: str, condition: Tensor) -> Tensor:
    """Output of one of SOLIDER's semantic layers, of shape ``(D,)``."""
    weight, bias = state.get(f'{layer}.weight'), state.get(f'{layer}.bias')
    if weight is None or bias is None or weight.shape != (len(bias), len(condition)):
        raise WeightsError(
            f'{layer} must have a weight of shape (D, {len(condition)}) and a bias of shape (D,)'
        )
    return linear(condition.to(weight.dtype), weight, bias)
