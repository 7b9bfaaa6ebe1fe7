"""Tells whether a model has collapsed: it gives all photos the same feature."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

# Features of length 1 that are nearer than this differ by no more than float32 rounding.
ROUNDING = 2.0**-18
# Features that are compared at once.
BLOCK_ROWS = 512


def _unit(features: Tensor) -> Tensor:
    # By default small features stay small, and seem to be alike.
    return normalize(features.double(), eps=torch.finfo(torch.float64).tiny)


@torch.no_grad()
def are_alike(features: Tensor, rows: Tensor) -> bool:
    """Tell whether L2-normalized features are all the same but for rounding.

    The first one that differs ends the comparison, so that it takes no time unless they are alike.

    Args:
        features: (n, d), floating point.
        rows: Which of them, (m,) int64.

    Returns:
        True if all are alike; False for less than two.

    Example:
        >>> features = torch.tensor([[1.0, 2.0], [2.0, 4.0], [2.0, 4.1]])
        >>> are_alike(features, torch.tensor([0, 1])), are_alike(features, torch.tensor([0, 1, 2]))
        (True, False)
    """
    rows = rows.to(features.device)
    if len(rows) < 2:
        return False
    first = _unit(features[rows[:1]])
    size = 2
    while len(rows):
        block, rows = rows[:size], rows[size:]
        difference = _unit(features[block]) - first
        if float(torch.linalg.vector_norm(difference, dim=1).max()) > ROUNDING:
            return False
        size = BLOCK_ROWS
    return True
