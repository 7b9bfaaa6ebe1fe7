from .attention_map import AttentionMap
from .class_token_attention import attention_rollout, class_token_attention
from .fusion_attention import fusion_attention

__all__ = [
    'AttentionMap',
    'attention_rollout',
    'class_token_attention',
    'fusion_attention',
]
