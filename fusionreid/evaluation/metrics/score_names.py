"""What the name of a score says."""

from __future__ import annotations

from .open_set_scores import OPEN_SET
from .rerank_protocol import RERANKED

# What a score is of besides a feature.
KINDS = (f'{RERANKED}.', f'{OPEN_SET}.')


def is_headline(name: str) -> bool:
    """Whether a score is of the feature that stands for the model, and not of a named one.

    Args:
        name: Name of a score of ``ReIDMetric``, with its prefix.

    Returns:
        False for the score of a named feature.

    Example:
        >>> [is_headline(name) for name in ('reid/mAP', 'reid/rerank.mAP', 'reid/cnn_fused.mAP')]
        [True, True, False]
        >>> is_headline('reid/open_set.tpir_at_0.01')
        True
    """
    own = name.rpartition('/')[2]
    return own.startswith(KINDS) or '.' not in own
