"""Names of the same backbone weights in different projects, and how a name is translated.

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
    """Translate a name by the first rule whose left side it matches.

    Args:
        name: Name of a weight.
        rules: The rules, from left to right.

    Returns:
        The name on the other side; None if no rule matches.

    Example:
        >>> rename('blocks.7.attn.qkv.bias', VIT_RULES)
        'layers.7.attn.qkv.bias'
        >>> rename('layers.7.attn.qkv.bias', reverse(VIT_RULES))
        'blocks.7.attn.qkv.bias'
    """
    for source, target in rules:
        match = _pattern(source).fullmatch(name)
        if match:
            return (target + '{}' if source.endswith('.') else target).format(*match.groups())
    return None


def reverse(rules: Rules) -> Rules:
    """Swap the two sides of rules."""
    return tuple((ours, theirs) for theirs, ours in rules)


def below(theirs: str, ours: str, rules: Rules) -> Rules:
    """Put prefixes in front of both sides of rules.

    Args:
        theirs: Prefix of the left sides.
        ours: Prefix of the right sides.
        rules: The rules.

    Returns:
        The longer rules.

    Example:
        >>> below('blocks.{}.', 'layers.{}.', [('norm1.', 'ln1.')])
        (('blocks.{}.norm1.', 'layers.{}.ln1.'),)
    """
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
    # The convolutional stem of TransReID-SSL ("ICS").
    ('patch_embed.conv.{}.', 'patch_embed.conv.{}.'),
    ('patch_embed.conv.{}.IN.', 'patch_embed.conv.{}.IN.'),
    ('patch_embed.conv.{}.BN.', 'patch_embed.conv.{}.BN.'),
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

# The project of Swin, whose last norm has no number, to mmpretrain.
SWIN_RULES: Rules = (
    ('patch_embed.proj.', 'patch_embed.projection.'),
    ('patch_embed.norm.', 'patch_embed.norm.'),
    *below(
        'layers.{}.blocks.{}.',
        'stages.{}.blocks.{}.',
        (
            ('norm1.', 'norm1.'),
            ('attn.', 'attn.w_msa.'),
            ('attn.qkv.', 'attn.w_msa.qkv.'),
            ('attn.proj.', 'attn.w_msa.proj.'),
            ('norm2.', 'norm2.'),
            ('mlp.fc1.', 'ffn.layers.0.0.'),
            ('mlp.fc2.', 'ffn.layers.1.'),
        ),
    ),
    ('layers.{}.downsample.norm.', 'stages.{}.downsample.norm.'),
    ('layers.{}.downsample.reduction.', 'stages.{}.downsample.reduction.'),
    ('norm.', 'norm3.'),
)
