"""Names of the authors' released state dicts, and ours for the same weights."""

from __future__ import annotations

import re

from torch import Tensor

_FUSION_RULES = [
    # heads of the branches, then those of the neck's features
    (r'resnet\.bottleneck\.', 'heads.cnn.bnneck.'),
    (r'resnet\.classifier\.', 'heads.cnn.classifier.'),
    (r'transformer\.bottleneck\.', 'heads.transformer.bnneck.'),
    (r'transformer\.classifier\.', 'heads.transformer.classifier.'),
    (r'bottleneck_1\.', 'heads.cnn_refined.bnneck.'),
    (r'bottleneck_2\.', 'heads.transformer_refined.bnneck.'),
    (r'bottleneck_3\.', 'heads.cnn_fused.bnneck.'),
    (r'bottleneck_4\.', 'heads.transformer_fused.bnneck.'),
    (r'classifier_1\.', 'heads.cnn_refined.classifier.'),
    (r'classifier_2\.', 'heads.transformer_refined.classifier.'),
    (r'classifier_3\.', 'heads.cnn_fused.classifier.'),
    (r'classifier_4\.', 'heads.transformer_fused.classifier.'),
    # branches
    (r'resnet\.base\.', 'branches.cnn.backbone.'),
    (r'resnet\.gap\.', 'branches.cnn.pooling.'),
    (r'transformer\.base\.', 'branches.transformer.backbone.'),
    # neck
    (r'res_LRU\.', 'neck.lru.cnn.'),
    (r'former_LRU\.', 'neck.lru.transformer.'),
    (r'gap_r\.', 'neck.pooling.cnn.'),
    (r'gap_f\.', 'neck.pooling.transformer.'),
    (r'HTM\.blocks\.(\d+)\.SEU1\.', r'neck.layers.\1.seu.cnn.'),
    (r'HTM\.blocks\.(\d+)\.SEU2\.', r'neck.layers.\1.seu.transformer.'),
    (r'HTM\.blocks\.(\d+)\.SEU\.', r'neck.layers.\1.seu.shared.'),
    (r'HTM\.blocks\.(\d+)\.MUF_RES\.', r'neck.layers.\1.mfu.cnn.'),
    (r'HTM\.blocks\.(\d+)\.MFU_FORMER\.', r'neck.layers.\1.mfu.transformer.'),
    (r'HTM\.blocks\.(\d+)\.MFU\.', r'neck.layers.\1.mfu.shared.'),
]

_LRU_RULES = [
    ('dwconv.', 'depthwise.0.'),
    ('bn1.', 'depthwise.1.'),
    ('act1.', 'depthwise.2.'),
    ('ptconv.', 'pointwise.0.'),
    ('bn2.', 'pointwise.1.'),
    ('act2.', 'pointwise.2.'),
]

_UNIT_RULES = [('blocks.0.', ''), ('mlp.fc1.', 'mlp.0.'), ('mlp.fc2.', 'mlp.2.')]

_BLOCK_RULES = [
    ('.norm1.', '.ln1.'),
    ('.norm2.', '.ln2.'),
    ('.mlp.fc1.', '.ffn.layers.0.0.'),
    ('.mlp.fc2.', '.ffn.layers.1.'),
]


def _replace_all(name: str, rules: list[tuple[str, str]]) -> str:
    for old, new in rules:
        name = name.replace(old, new)
    return name


def _rename_transformer(name: str, is_t2t: bool) -> str:
    name = _replace_all(name, _BLOCK_RULES)
    if is_t2t:
        return re.sub(r'^blocks\.', 'encoder.', name)
    name = re.sub(r'^blocks\.', 'layers.', name)
    name = re.sub(r'^norm\.', 'ln1.', name)
    return name.replace('patch_embed.proj.', 'patch_embed.projection.')


def convert_original_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the entries of a released state dict to those of
    :class:`fusionreid.models.FusionReID`.

    Args:
        state: State dict of the authors' released code; of the fusion model, or of a single branch,
            whose keys begin with ``base.``.

    Returns:
        The same tensors under our names; the unused ImageNet classifier is left out, camera
        embeddings lose their middle axis.

    Raises:
        KeyError: If a key is not one of the release's; the message names it.
    """
    if any(key.startswith('base.') for key in state):
        branch = 'transformer' if 'base.cls_token' in state else 'resnet'
        state = {f'{branch}.{key}': value for key, value in state.items()}
    is_t2t = any('tokens_to_token' in key for key in state)
    converted = {}
    for key, value in state.items():
        if re.match(r'(resnet|transformer)\.base\.(fc|head)\.', key):
            continue
        for pattern, replacement in _FUSION_RULES:
            name, found = re.subn(f'^{pattern}', replacement, key)
            if found:
                break
        else:
            raise KeyError(f'{key!r} is not a weight of the released FusionReID code')
        prefix = 'branches.transformer.backbone.'
        if name.startswith(prefix):
            name = prefix + _rename_transformer(name.removeprefix(prefix), is_t2t)
        elif name.startswith('neck.lru.'):
            name = _replace_all(name, _LRU_RULES)
        elif name.startswith('neck.layers.'):
            name = _replace_all(name, _UNIT_RULES)
        if name.endswith('.sie_embed'):
            name, value = name.replace('.sie_embed', '.sie.weight'), value.squeeze(1)
        converted[name] = value
    return converted
