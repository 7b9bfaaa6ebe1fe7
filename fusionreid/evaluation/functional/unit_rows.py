"""L2-normalizes features, whatever their size."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .errors import ScoringInputError
from .validation import unusable_feature

# A row whose float32 norm is below this is normalized in float64: its squares may be rounded to 0.
SMALLEST_NORM = 1e-12


def unit_rows_(features: Tensor, name: Callable[[int], str]) -> Tensor:
    """L2-normalize features in place.

    Args:
        features: (n, d), float32 or float64.
        name: Names a feature by its row, for the error.

    Returns:
        ``features``.

    Raises:
        ScoringInputError: A feature is zero, or holds a NaN or infinite value.

    Example:
        >>> import torch
        >>> unit_rows_(torch.tensor([[3e-30, 4e-30]]), 'feature {}'.format)
        tensor([[0.6000, 0.8000]])
    """
    norms = features.norm(dim=1, keepdim=True)
    extreme = ~((norms >= SMALLEST_NORM) & norms.isfinite()).flatten()
    if extreme.any():
        rows = features[extreme].double()
        largest = rows.abs().amax(dim=1, keepdim=True)
        sizes = norms.flatten().double()
        sizes[extreme] = largest.flatten()
        if problem := unusable_feature(sizes, name):
            raise ScoringInputError(problem)
        rows /= largest
        features[extreme] = (rows / rows.norm(dim=1, keepdim=True)).to(features.dtype)
        norms[extreme] = 1
    return features.div_(norms)
