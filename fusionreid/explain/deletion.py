"""Is a map right? Hide what it calls relevant, and see how far the similarity falls."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fusionreid.errors import ExplainError
from fusionreid.models import FusionReID

from .recording import check_inputs, extract_features
from .similarity import check_feature, similarity

# Cells in which an image is hidden, in pixels. Scattered pixels disturb a network by the edges that
# they add, whatever they hide.
CELL = 8


@torch.no_grad()
def deletion_curve(
    model: FusionReID,
    images: Tensor,
    others: Tensor,
    maps: Tensor,
    feature: str,
    shares: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.5),
    cell: int = CELL,
    camera_ids: Tensor | None = None,
    other_camera_ids: Tensor | None = None,
) -> Tensor:
    """Compute how alike pairs of photos stay while the most relevant parts of one are hidden.

    The faster the curve falls, the better the map (arXiv 1806.07421). The curve of random maps,
    ``torch.rand(maps.shape)``, is the one to compare with.

    Args:
        model: The model.
        images: Normalized images of shape ``(B, 3, H, W)``, parts of which are hidden.
        others: The other photo of each pair, of shape ``(B, 3, H2, W2)``.
        maps: Relevance of the pixels of ``images``, of shape ``(B, H, W)``.
        feature: Name of the feature that is compared; ``'all'`` for all of them side by side.
        shares: Shares of the image that are hidden, in [0, 1].
        cell: Side of the square cells that are hidden, in pixels.
        camera_ids: 0-based cameras of shape ``(B,)``, -1 for unknown; None means all unknown.
        other_camera_ids: Cameras of the other photos.

    Returns:
        Similarities of shape ``(B, len(shares))``.

    Raises:
        ExplainError: If an argument is not what is described.
    """
    check_inputs(model, images, camera_ids)
    check_feature(model, feature)
    references = extract_features(model, others, other_camera_ids)
    columns = []
    for share in shares:
        hidden = hide_most_relevant(images, maps, share, cell)
        features = extract_features(model, hidden, camera_ids)
        columns.append(similarity(model, features, references, feature))
    return torch.stack(columns, 1)


def hide_most_relevant(images: Tensor, maps: Tensor, share: float, cell: int = CELL) -> Tensor:
    """Paint the most relevant cells of images in the image's mean color.

    Args:
        images: Images of shape ``(B, C, H, W)``.
        maps: Relevance of their pixels, of shape ``(B, H, W)``.
        share: Share of the cells, in [0, 1].
        cell: Side of a cell in pixels; those at the right and lower border may be cut.

    Returns:
        New images of shape ``(B, C, H, W)``.

    Raises:
        ExplainError: If the maps are not those of the images, or a number is out of range.

    Example:
        >>> images = torch.arange(4.0).view(1, 1, 1, 4)
        >>> maps = torch.tensor([[[0.0, 0.2, 0.7, 0.1]]])
        >>> hide_most_relevant(images, maps, share=0.25, cell=1)
        tensor([[[[0.0000, 1.0000, 1.5000, 3.0000]]]])
    """
    if maps.shape != (len(images), *images.shape[2:]):
        raise ExplainError(
            f'maps of shape {tuple(maps.shape)} are not those of images of shape '
            f'{tuple(images.shape)}'
        )
    if not 0 <= share <= 1 or cell < 1:
        raise ExplainError(
            f'share must be in [0, 1] and cell at least 1, got share={share} and cell={cell}'
        )
    means = F.avg_pool2d(maps[:, None].float(), cell, ceil_mode=True)
    flat = means.flatten(1)
    chosen = flat.topk(round(share * flat.shape[1])).indices
    mask = torch.zeros_like(flat).scatter_(1, chosen, 1.0).view_as(means)
    mask = mask.repeat_interleave(cell, 2).repeat_interleave(cell, 3)
    mask = mask[:, :, : images.shape[2], : images.shape[3]].to(images.device)
    return torch.where(mask > 0, images.mean((2, 3), keepdim=True), images)
