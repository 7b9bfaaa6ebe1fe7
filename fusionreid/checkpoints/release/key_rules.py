"""Names of the same weights in different projects.

A rule is a pair of templates, theirs and ours; ``{}`` stands for a number, and a template that ends
in a dot for everything directly below that module. Rules work in both directions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

Rules = Sequence[tuple[str, str]]


@cache
def _pattern(template: str) -> re.Pattern[str]:
    leaf = r'([a-z_]+)' if template.endswith('.') else ''
    return re.compile(re.escape(template).replace(r'\{\}', r'(\d+)') + leaf)


def rename(name: str, rules: Rules) -> str | None:
    """Translate a name by the first rule whose left side it matches; None if there is none."""
    for source, target in rules:
        match = _pattern(source).fullmatch(name)
        if match:
            return (target + '{}' if source.endswith('.') else target).format(*match.groups())
    return None


def reverse(rules: Rules) -> Rules:
    """Swap the two sides of rules."""
    return tuple((ours, theirs) for theirs, ours in rules)


def below(theirs: str, ours: str, rules: Rules) -> Rules:
    """Put prefixes in front of both sides of rules."""
    return tuple((theirs + left, ours + right) for left, right in rules)


# torchvision, timm and mmpretrain agree.
RESNET_RULES: Rules = tuple(
    (name, name)
    for name in (
        'conv1.',
        'bn1.',
        'layer{}.{}.conv{}.',
        'layer{}.{}.bn{}.',
        'layer{}.{}.downsample.{}.',
    )
)

_TOKEN_RULES: Rules = (
    ('cls_token', 'cls_token'),
    ('pos_embed', 'pos_embed'),
    ('sie_embed', 'sie.weight'),
)
_BLOCK_RULES: Rules = (
    ('norm1.', 'ln1.'),
    ('attn.qkv.', 'attn.qkv.'),
    ('attn.proj.', 'attn.proj.'),
    ('norm2.', 'ln2.'),
    ('mlp.fc1.', 'ffn.layers.0.0.'),
    ('mlp.fc2.', 'ffn.layers.1.'),
)

# timm, DeiT, DINO and TransReID to mmpretrain.
VIT_RULES: Rules = (
    *_TOKEN_RULES,
    ('patch_embed.proj.', 'patch_embed.projection.'),
    *below('blocks.{}.', 'layers.{}.', _BLOCK_RULES),
    ('norm.', 'ln1.'),
)

# The T2T-ViT project to mmpretrain.
T2T_RULES: Rules = (
    *_TOKEN_RULES,
    *below('tokens_to_token.attention{}.', 'tokens_to_token.attention{}.', _BLOCK_RULES),
    ('tokens_to_token.project.', 'tokens_to_token.project.'),
    *below('blocks.{}.', 'encoder.{}.', _BLOCK_RULES),
    ('norm.', 'norm.'),
)

_HEAD_OWNERS = {
    'resnet.{}.': 'cnn',
    'transformer.{}.': 'transformer',
    '{}_1.': 'cnn_refined',
    '{}_2.': 'transformer_refined',
    '{}_3.': 'cnn_fused',
    '{}_4.': 'transformer_fused',
}
_HEAD_RULES: Rules = tuple(
    (theirs.format(part), f'heads.{feature}.{ours}.')
    for theirs, feature in _HEAD_OWNERS.items()
    for part, ours in (('bottleneck', 'bnneck'), ('classifier', 'classifier'))
)

_LRU_RULES: Rules = (
    ('dwconv.', 'depthwise.0.'),
    ('bn1.', 'depthwise.1.'),
    ('act1.', 'depthwise.2.'),
    ('ptconv.', 'pointwise.0.'),
    ('bn2.', 'pointwise.1.'),
    ('act2.', 'pointwise.2.'),
)

SEU_OWNERS = {'SEU': 'shared', 'SEU1': 'cnn', 'SEU2': 'transformer'}
MFU_OWNERS = {'MFU': 'shared', 'MUF_RES': 'cnn', 'MFU_FORMER': 'transformer'}
_MLP_RULES: Rules = (('blocks.0.mlp.fc1.', 'mlp.0.'), ('blocks.0.mlp.fc2.', 'mlp.2.'))
_SEU_RULES: Rules = (
    *((f'blocks.0.{name}', name) for name in ('norm1.', 'attn.qkv.', 'attn.proj.', 'norm2.')),
    *_MLP_RULES,
    ('norm.', 'norm.'),
)
_MFU_RULES: Rules = (
    *((f'blocks.0.{name}', name) for name in ('norm1.', 'norm2.')),
    *((f'blocks.0.attn.{name}.', f'attn.{name}.') for name in ('norm', 'q', 'k', 'v', 'proj')),
    *_MLP_RULES,
)
_HTM_RULES: Rules = tuple(
    rule
    for unit, owners, rules in (('seu', SEU_OWNERS, _SEU_RULES), ('mfu', MFU_OWNERS, _MFU_RULES))
    for theirs, ours in owners.items()
    for rule in below(f'HTM.blocks.{{}}.{theirs}.', f'neck.layers.{{}}.{unit}.{ours}.', rules)
)

_NECK_RULES: Rules = (
    *below('res_LRU.', 'neck.lru.cnn.', _LRU_RULES),
    *below('former_LRU.', 'neck.lru.transformer.', _LRU_RULES),
    ('gap_r.', 'neck.pooling.cnn.'),
    ('gap_f.', 'neck.pooling.transformer.'),
    *_HTM_RULES,
)


def fusion_rules(is_t2t: bool) -> Rules:
    """Rules between the authors' released models and ours.

    Args:
        is_t2t: Whether the transformer is a T2T-ViT.
    """
    return (
        *below('resnet.base.', 'branches.cnn.backbone.', RESNET_RULES),
        ('resnet.gap.', 'branches.cnn.pooling.'),
        *below(
            'transformer.base.',
            'branches.transformer.backbone.',
            T2T_RULES if is_t2t else VIT_RULES,
        ),
        *_NECK_RULES,
        *_HEAD_RULES,
    )
