"""How good relevance maps are: on the person, and right about what makes two photos alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionreid.models import FusionReID

from .deletion import hide_most_relevant
from .recording import extract_features
from .relevance import INTEGRATED_GRADIENTS, pair_relevance
from .silhouette import share_on_person
from .similarity import similarity


@dataclass(frozen=True)
class MapScores:
    """What was measured on the maps of one feature, per photo.

    Attributes:
        on_person: Share of the relevance on the person, (B,); NaN where a map is zero.
        drop: How far the similarity falls when the most relevant cells are hidden, (B,).
        random_drop: How far it falls when as many cells are hidden by chance, (B,).
    """

    on_person: Tensor
    drop: Tensor
    random_drop: Tensor


def score_maps(
    model: FusionReID,
    images: Tensor,
    others: Tensor,
    masks: Tensor,
    features: Sequence[str] | None = None,
    method: str = INTEGRATED_GRADIENTS,
    share: float = 0.1,
    camera_ids: Tensor | None = None,
    other_camera_ids: Tensor | None = None,
    seed: int = 0,
) -> dict[str, MapScores]:
    """Measure the maps of pairs of photos of one person each.

    Args:
        model: The model.
        images: Normalized images of shape ``(B, 3, H, W)``.
        others: The other photo of each pair, of shape ``(B, 3, H2, W2)``.
        masks: Masks of the persons of ``images``, of shape ``(B, H3, W3)``, from 0 to 1.
        features: As for :func:`fusionreid.explain.pair_relevance`.
        method: As for :func:`fusionreid.explain.pair_relevance`.
        share: Share of the image that is hidden, in [0, 1].
        camera_ids: 0-based cameras of shape ``(B,)``, -1 for unknown; None means all unknown.
        other_camera_ids: Cameras of the other photos.
        seed: Seed of the cells that are hidden by chance.

    Returns:
        What was measured, by feature.

    Raises:
        ExplainError: If an argument is not what is described.
    """
    relevance = pair_relevance(
        model, images, others, features, method, camera_ids, other_camera_ids
    )
    generator = torch.Generator().manual_seed(seed)
    by_chance = torch.rand(len(images), *images.shape[2:], generator=generator).to(images.device)
    with torch.no_grad():
        references = extract_features(model, others, other_camera_ids)
        whole = extract_features(model, images, camera_ids)
        hidden = hide_most_relevant(images, by_chance, share)
        without_random = extract_features(model, hidden, camera_ids)
        scores = {}
        for name, (maps, _) in relevance.items():
            hidden = hide_most_relevant(images, maps, share)
            without = extract_features(model, hidden, camera_ids)
            before, after, random_after = (
                similarity(model, side, references, name)
                for side in (whole, without, without_random)
            )
            scores[name] = MapScores(
                share_on_person(maps, masks), before - after, before - random_after
            )
    return scores
