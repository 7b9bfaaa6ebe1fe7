"""Renaming a state dict from the authors' names to ours and back; what is left out or refused.

The names themselves stand in ``released_keys.py``.
"""

from __future__ import annotations

import re

from torch import Tensor

from fusionreid.errors import UnknownWeightsError

from ..public_keys import rename, reverse
from .released_keys import fusion_rules

_UNUSED = re.compile(r'(?:(?:resnet|transformer)\.)?base\.(?:fc|head)\.(?:weight|bias)')


def normalize_original_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give all released state dicts the names of the fusion model.

    Args:
        state: State dict of the released code, with or without ``module.`` in front of every name;
            of the fusion model, or of a single branch, whose names begin with ``base.``.

    Returns:
        The same tensors; those of a single branch below ``resnet.`` or ``transformer.``.

    Example:
        >>> import torch
        >>> list(normalize_original_names({'module.base.conv1.weight': torch.ones(1)}))
        ['resnet.base.conv1.weight']
    """
    if all(name.startswith('module.') for name in state):
        state = {name.removeprefix('module.'): value for name, value in state.items()}
    if any(name.startswith('base.') for name in state):
        branch = 'transformer' if 'base.cls_token' in state else 'resnet'
        state = {f'{branch}.{name}': value for name, value in state.items()}
    return state


def unused_original_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Pick the ImageNet classifier, which the released models carry along and never use."""
    return {name: value for name, value in state.items() if _UNUSED.fullmatch(name)}


def convert_original_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the entries of a released state dict to those of a model of ours.

    Args:
        state: State dict of the authors' released code; see :func:`normalize_original_names`.

    Returns:
        The same tensors under our names; the unused ImageNet classifier is left out, camera
        embeddings lose their middle axis.

    Raises:
        UnknownWeightsError: If names are not the release's; the message gives the first of them.

    Example:
        >>> import torch
        >>> list(convert_original_state({'classifier_3.weight': torch.ones(5, 4)}))
        ['heads.cnn_fused.classifier.weight']
    """
    state = normalize_original_names(state)
    rules = fusion_rules(is_t2t=any('.tokens_to_token.' in name for name in state))
    converted, unknown = {}, []
    for name, value in state.items():
        if _UNUSED.fullmatch(name):
            continue
        ours = rename(name, rules)
        if ours is None:
            unknown.append(name)
        elif ours.endswith('.sie.weight') and value.dim() == 3:
            converted[ours] = value.squeeze(1)
        else:
            converted[ours] = value
    _refuse(unknown, len(state), 'not weights of the released FusionReID code')
    return converted


def export_original_state(
    state: dict[str, Tensor], unused: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Rename the entries of a state dict of ours to those of the authors' released code.

    Args:
        state: State dict of :class:`fusionreid.models.FusionReID` with a branch ``cnn``
            (a ResNet), a branch ``transformer`` (a ViT or T2T-ViT), or both and the fusion neck.
        unused: Weights that the conversion set aside, under the fusion model's released names.

    Returns:
        The same tensors under the release's names; those of a single branch begin with ``base.``.
        The ImageNet classifier, which the release carries along unused, is there only if it is
        among ``unused``: the release's loader leaves what a file lacks as it is.

    Raises:
        UnknownWeightsError: If the release has no such weights; the message gives the first of
            them.
    """
    rules = reverse(fusion_rules(is_t2t=any('.tokens_to_token.' in name for name in state)))
    exported, unknown = {}, []
    for name, value in state.items():
        theirs = rename(name, rules)
        if theirs is None:
            unknown.append(name)
        else:
            exported[theirs] = value.unsqueeze(1) if theirs.endswith('.sie_embed') else value
    _refuse(unknown, len(state), 'weights that the released FusionReID code does not have')
    exported.update(unused or {})
    branches = {name.partition('.')[0] for name in exported}
    if len(branches) == 1:
        branch = f'{branches.pop()}.'
        exported = {name.removeprefix(branch): value for name, value in exported.items()}
    return exported


def _refuse(names: list[str], total: int, what: str) -> None:
    if names:
        first = ', '.join(names[:3])
        raise UnknownWeightsError(
            f'{len(names)} of {total} names are {what}: {first}{", ..." * (len(names) > 3)}'
        )
