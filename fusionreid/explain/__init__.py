from .all_attention import all_attention
from .attention_map import AttentionMap
from .class_token_attention import attention_rollout, class_token_attention
from .deletion import deletion_curve, hide_most_relevant
from .fusion_attention import fusion_attention
from .map_scores import MapScores, score_maps
from .relevance import class_relevance, pair_relevance
from .silhouette import share_on_person

__all__ = [
    'AttentionMap',
    'MapScores',
    'all_attention',
    'attention_rollout',
    'class_relevance',
    'class_token_attention',
    'deletion_curve',
    'fusion_attention',
    'hide_most_relevant',
    'pair_relevance',
    'score_maps',
    'share_on_person',
]
