"""How much of a map lies on the person."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fusionreid.errors import ExplainError


def share_on_person(maps: Tensor, masks: Tensor) -> Tensor:
    """Compute the share of each map's sum that lies on the person.

    The share of the image that the person takes, ``masks.mean((1, 2))``, is what a map gets that
    does not look: only a share above it says something.

    Args:
        maps: Maps of shape ``(B, H, W)``, not negative: relevance at the size of the image, or
            attention on its grid (one head, or averaged).
        masks: Masks of the persons, of shape ``(B, H2, W2)``, from 0 (background) to 1. They are
            averaged over the pixels of the maps where these are coarser.

    Returns:
        Shares of shape ``(B,)``, in [0, 1]; NaN for a map that is zero.

    Raises:
        ExplainError: If the shapes do not fit together.

    Example:
        >>> maps = torch.tensor([[[0.2, 0.3], [0.5, 0.0]]])
        >>> share_on_person(maps, torch.tensor([[[0.0, 1.0], [1.0, 1.0]]]))
        tensor([0.8000])
    """
    if maps.ndim != 3 or masks.ndim != 3 or len(maps) != len(masks):
        raise ExplainError(
            f'maps and masks must have the shapes (B, H, W) with the same B, got '
            f'{tuple(maps.shape)} and {tuple(masks.shape)}'
        )
    masks = masks.to(maps.device, torch.float32)
    size = (maps.shape[1], maps.shape[2])
    masks = F.interpolate(masks[:, None], size, mode='area')[:, 0]
    return (maps * masks).sum((1, 2)) / torch.as_tensor(maps.sum((1, 2)))
