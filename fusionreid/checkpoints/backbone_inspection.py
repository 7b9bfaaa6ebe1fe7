"""Which backbones a state dict holds, under the names of any known project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from fusionreid.errors import WeightsError

from .backbone_architecture import (
    count_blocks,
    count_cameras,
    count_patches,
    describe_grid,
    infer_resnet,
    select,
    shape_of,
)
from .public_keys import SWIN_RULES, T2T_RULES, VIT_RULES, Rules, rename, reverse
from .swin_weights import has_semantic_layers

Facts = list[tuple[str, str]]

# A weight that only this naming has, what it is called, and how it becomes the canonical one.
_NAMINGS: tuple[tuple[str, str, Rules | None], ...] = (
    ('tokens_to_token.attention1.ln1.weight', 'T2T-ViT, mmpretrain names', reverse(T2T_RULES)),
    ('tokens_to_token.attention1.norm1.weight', 'T2T-ViT, names of its project', None),
    ('patch_embed.projection.weight', 'ViT, mmpretrain names', reverse(VIT_RULES)),
    ('patch_embed.proj.weight', 'ViT, timm names', None),
    ('layer1.0.conv1.weight', 'ResNet, torchvision names', None),
    ('stages.0.blocks.0.attn.w_msa.qkv.weight', 'Swin, mmpretrain names', None),
    ('layers.0.blocks.0.attn.qkv.weight', 'Swin, names of its project', SWIN_RULES),
)
_SWIN_ANCHORS = tuple(anchor for anchor, kind, _ in _NAMINGS if kind.startswith('Swin'))


def describe_backbones(state: dict[str, Tensor]) -> Facts:
    """Describe all backbones in a state dict, below whatever prefixes.

    Args:
        state: State dict.

    Returns:
        One pair for each: ``backbone`` or ``backbone below <prefix>``, and a text.

    Example:
        >>> import torch
        >>> from torchvision.models import resnet18
        >>> with torch.device('meta'):
        ...     state = resnet18().state_dict()
        >>> describe_backbones(state)
        [('backbone', 'ResNet, torchvision names: ResNet-18, classifier of 1000 classes')]
    """
    facts = []
    for anchor, kind, rules in _NAMINGS:
        for name in state:
            if name != anchor and not name.endswith(f'.{anchor}'):
                continue
            prefix = name.removesuffix(anchor)
            # Swin embeds its patches as a ViT does.
            if kind.startswith('ViT') and any(prefix + swin in state for swin in _SWIN_ANCHORS):
                continue
            inside = select(state, prefix)
            if rules:
                inside = {
                    rename(ours, rules) or ours: value.unsqueeze(1)
                    if ours == 'sie.weight'
                    else value
                    for ours, value in inside.items()
                }
            title = f'backbone below {prefix!r}' if prefix else 'backbone'
            facts.append((title, f'{kind}: {describe_or_complain(_backbone_text, inside, kind)}'))
    return facts


def describe_or_complain(describe: Callable[..., str], *args: Any) -> str:
    """Describe a part of a state dict, or say why it is none that can be used.

    Args:
        describe: Function that makes the text, or raises a WeightsError.
        *args: Its arguments.

    Returns:
        The text.
    """
    try:
        return describe(*args)
    except WeightsError as error:
        return f'not one that can be used here ({error})'


def _backbone_text(state: dict[str, Tensor], kind: str) -> str:
    words = []
    if kind.startswith('ResNet'):
        found = infer_resnet(state)
        words.append(f'ResNet-{found.pop("depth")}')
        words += [f'{name} {value}' for name, value in found.items()]
    elif kind.startswith('Swin'):
        words += _swin_words(state)
    else:
        width, layers = shape_of(state, 'cls_token', 3)[2], count_blocks(state, 'blocks.')
        if kind.startswith('T2T'):
            words.append(f'T2T-ViT-{layers}')
        else:
            patch_size = shape_of(state, 'patch_embed.proj.weight', 4)[2]
            is_convolutional = 'patch_embed.conv.0.weight' in state  # of stride 2
            patch_size *= 1 + is_convolutional
            words.append(f'ViT of {layers} layers, patches of {patch_size} pixels')
            words += ['convolutional stem (ICS)'] * is_convolutional
        words.append(f'width {width}')
        distilled = 'dist_token' in state
        if distilled:
            words.append('distillation token')
        if 'pos_embed' in state:
            words.append(describe_grid(count_patches(state) - distilled + ('cls_pos' in state)))
        cameras = count_cameras(state)
        words.append(f'{cameras} cameras' if cameras else 'no camera embedding')
    for name in ('fc.weight', 'head.weight'):
        if name in state:
            words.append(f'classifier of {state[name].shape[0]} classes')
    return ', '.join(words)


def _swin_words(state: dict[str, Tensor]) -> list[str]:
    stages = count_blocks(state, 'stages.')
    blocks = [count_blocks(state, f'stages.{stage}.blocks.') for stage in range(stages)]
    width = shape_of(state, 'stages.0.blocks.0.attn.w_msa.qkv.weight', 2)[1]
    words = [f'Swin of {" + ".join(map(str, blocks))} blocks, width {width} in the first']
    return words + ["SOLIDER's semantic layers"] * has_semantic_layers(state)
