"""The authors' names of a FusionReID model's weights, as rules to ours.

How rules work says :mod:`fusionreid.checkpoints.public_keys`.
"""

from __future__ import annotations

from ..public_keys import RESNET_RULES, T2T_RULES, VIT_RULES, Rules, below

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
    """List the rules between the authors' released models and ours.

    Args:
        is_t2t: Whether the transformer is a T2T-ViT.

    Returns:
        Rules, the release's names on the left.

    Example:
        >>> from fusionreid.checkpoints.public_keys import rename
        >>> rename('HTM.blocks.1.SEU.blocks.0.mlp.fc1.weight', fusion_rules(is_t2t=False))
        'neck.layers.1.seu.shared.mlp.0.weight'
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
