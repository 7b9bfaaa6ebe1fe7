"""What the name of a score says."""

from __future__ import annotations

from .rerank_protocol import RERANKED


def is_headline(name: str) -> bool:
    """Whether a score is of the feature that stands for the model, and not of a named one.

    Args:
        name: Name of a score of ``ReIDMetric``, with its prefix.

    Returns:
        False for the score of a named feature.

    Example:
        >>> [is_headline(name) for name in ('reid/mAP', 'reid/rerank.mAP', 'reid/cnn_fused.mAP')]
        [True, True, False]
    """
    return '.' not in name.rpartition('/')[2].removeprefix(f'{RERANKED}.')
