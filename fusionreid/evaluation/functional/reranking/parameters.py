"""The parameters of k-reciprocal re-ranking: as published, and checked; and its memory."""

from __future__ import annotations

from ..errors import ScoringInputError

# Zhong et al. (CVPR 2017) use these for Market-1501 and DukeMTMC-reID; see k_reciprocal_rerank.
DEFAULT_K1 = 20
DEFAULT_K2 = 6
DEFAULT_LAMBDA_VALUE = 0.3
# What re-ranking may use on top of features and result unless told otherwise, in bytes: 4 GiB.
DEFAULT_RERANKING_MEMORY_LIMIT = 4 << 30


def check_parameters(k1: int, k2: int, lambda_value: float, images: int | None = None) -> None:
    """Check the parameters of re-ranking.

    Args:
        k1: Neighbors among which reciprocal ones are looked for.
        k2: Neighbors over which the encodings are averaged.
        lambda_value: Weight of the original distance.
        images: Number of queries and gallery images together; None where it is not known yet.

    Raises:
        ScoringInputError: A number is out of its range, or there are too few images.

    Example:
        >>> check_parameters(20, 6, 0.3, images=20)
        Traceback (most recent call last):
        fusionreid.evaluation.functional.errors.ScoringInputError: k1=20 is not a whole number in \
1..19, the number of the other queries and gallery images
    """
    limits = {
        'k1': (k1, 1, 'the number of the other queries and gallery images'),
        'k2': (k2, 0, 'the number of queries and gallery images'),
    }
    for name, (value, own, meaning) in limits.items():
        most = None if images is None else images - own
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if not is_count or (most is not None and value > most):
            allowed = 'from 1 on' if most is None else f'in 1..{most}, {meaning}'
            raise ScoringInputError(f'{name}={value!r} is not a whole number {allowed}')
    if not isinstance(lambda_value, (int, float)) or not 0 <= lambda_value <= 1:
        raise ScoringInputError(
            f'lambda_value={lambda_value!r} is outside 0..1, the weight of the original distance'
        )
