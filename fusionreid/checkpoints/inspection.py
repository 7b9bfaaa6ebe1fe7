"""Telling what a weight file is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from fusionreid.errors import WeightsError

from .release.architecture import (
    CLASSIFIER,
    count_blocks,
    count_cameras,
    count_patches,
    describe_grid,
    infer_neck,
    infer_resnet,
    select,
    shape_of,
)
from .release.key_renaming import normalize_original_names, unused_original_weights
from .release.key_rules import T2T_RULES, VIT_RULES, Rules, fusion_rules, rename, reverse
from .release.part_table import count_values
from .weight_file import SkippedObject, find_state_dict, first_not_finite, read_weight_file

Facts = list[tuple[str, str]]

# A weight that only this naming has, what it is called, and how it becomes the canonical one.
_NAMINGS: tuple[tuple[str, str, Rules | None], ...] = (
    ('tokens_to_token.attention1.ln1.weight', 'T2T-ViT, mmpretrain names', reverse(T2T_RULES)),
    ('tokens_to_token.attention1.norm1.weight', 'T2T-ViT, names of its project', None),
    ('patch_embed.projection.weight', 'ViT, mmpretrain names', reverse(VIT_RULES)),
    ('patch_embed.proj.weight', 'ViT, timm names', None),
    ('layer1.0.conv1.weight', 'ResNet, torchvision names', None),
)


def inspect_weights(path: str | Path) -> Facts:
    """Say what a weight file is, as far as its names and shapes tell.

    Args:
        path: A PyTorch or ``.safetensors`` file.

    Returns:
        Facts as pairs of a title and a text: what kind of file it is, and for every backbone its
        architecture, patch grid, cameras and classes.

    Raises:
        WeightsError: If the file cannot be read or holds no weights.
    """
    content = read_weight_file(path)
    try:
        state, wrapper = find_state_dict(content)
    except WeightsError as error:
        raise WeightsError(f'{path}: {error}') from error
    facts = [('file', f'{path}'), ('state dict', f'under {wrapper!r}' if wrapper else 'plain')]
    if wrapper:
        others = [_entry(name, value) for name, value in content.items() if name != wrapper]
        facts.append(('beside it', ', '.join(others) or 'nothing'))
    types = sorted({str(value.dtype).removeprefix('torch.') for value in state.values()})
    facts.append(('tensors', f'{len(state)} of {", ".join(types)}'))
    facts.append(('parameters', f'{count_values(state):,}'))
    bad = first_not_finite(state)
    if bad is not None:
        facts.append(('damaged', f'{bad} holds a NaN or infinite value'))
    return facts + describe_state(state)


def _entry(name: Any, value: Any) -> str:
    return f'{name} (skipped)' if isinstance(value, SkippedObject) else str(name)


def describe_state(state: dict[str, Tensor]) -> Facts:
    """Describe a state dict; see :func:`inspect_weights`."""
    is_t2t = any('tokens_to_token.' in name for name in state)
    rules = fusion_rules(is_t2t)
    released = normalize_original_names(state)
    unused = unused_original_weights(released)
    if _share(released, rules, unused) > 0.5:
        return [('model', "FusionReID, the authors' released names"), *_describe_model(released)]
    if _share(state, reverse(rules), {}) > 0.5:
        renamed = {rename(name, reverse(rules)): value for name, value in state.items()}
        own = {
            name: value.unsqueeze(1) if name.endswith('.sie_embed') else value
            for name, value in renamed.items()
            if name is not None
        }
        return [('model', 'FusionReID, our names'), *_describe_model(own)]
    facts = describe_backbones(state)
    if not facts:
        first = ', '.join(list(state)[:4])
        facts = [('model', f'unknown; names: {first}{", ..." * (len(state) > 4)}')]
    return facts


def _share(state: dict[str, Tensor], rules: Rules, aside: dict[str, Tensor]) -> float:
    known = sum(name in aside or rename(name, rules) is not None for name in state)
    return known / len(state)


def _describe_model(state: dict[str, Tensor]) -> Facts:
    facts = []
    for title, prefix in (('CNN', 'resnet.base.'), ('transformer', 'transformer.base.')):
        inside = select(state, prefix)
        if inside:
            # Whose names they are was said of the whole model.
            texts = (text.partition(': ')[2] for _, text in describe_backbones(inside))
            facts.append((title, '; '.join(texts) or 'unknown'))
    if any(name.startswith('res_LRU.') for name in state):
        facts.append(('neck', _attempt(_neck_text, state)))
    classifier = next((name for name in state if CLASSIFIER.fullmatch(name)), None)
    facts.append(('identities', str(len(state[classifier])) if classifier else 'no classifiers'))
    return facts


def _neck_text(state: dict[str, Tensor]) -> str:
    neck = infer_neck(state, any_heads=True)
    shared = ' and '.join(neck['shared']) or 'nothing'
    return (
        f'd = {neck["embed_dims"]}, L = {neck["num_layers"]}, units {" ".join(neck["units"])}, '
        f'{shared} shared' + ('' if neck['depthwise'] else ', LRU without depth-wise half')
    )


def describe_backbones(state: dict[str, Tensor]) -> Facts:
    """Describe all backbones in a state dict, below whatever prefixes.

    Args:
        state: State dict.

    Returns:
        One pair for each: ``backbone`` or ``backbone below <prefix>``, and a text.
    """
    facts = []
    for anchor, kind, rules in _NAMINGS:
        for name in state:
            if name != anchor and not name.endswith(f'.{anchor}'):
                continue
            prefix = name.removesuffix(anchor)
            inside = select(state, prefix)
            if rules:
                inside = {
                    rename(ours, rules) or ours: value.unsqueeze(1)
                    if ours == 'sie.weight'
                    else value
                    for ours, value in inside.items()
                }
            title = f'backbone below {prefix!r}' if prefix else 'backbone'
            facts.append((title, f'{kind}: {_attempt(_backbone_text, inside, kind)}'))
    return facts


def _attempt(describe, *args: Any) -> str:
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
    else:
        width, layers = shape_of(state, 'cls_token', 3)[2], count_blocks(state, 'blocks.')
        if kind.startswith('T2T'):
            words.append(f'T2T-ViT-{layers}')
        else:
            patch_size = shape_of(state, 'patch_embed.proj.weight', 4)[2]
            words.append(f'ViT of {layers} layers, patches of {patch_size} pixels')
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
