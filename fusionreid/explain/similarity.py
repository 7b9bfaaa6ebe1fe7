"""How alike two features are: the cosine of their differences from the average person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fusionreid.errors import ExplainError
from fusionreid.evaluation.feature_set import ALL
from fusionreid.models import BNNeckHead, FusionReID


def centered_features(model: FusionReID, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Subtract the mean of the training images, which the BNNecks keep.

    Args:
        model: The model; without heads, nothing is subtracted.
        features: Features before the BNNecks, of shape ``(B, D)``, by name.

    Returns:
        Features of shape ``(B, D)`` by name, in float32 or wider.
    """
    means: dict[str, Any] = {
        name: head.bnneck.running_mean
        for name, head in model.heads.items()
        if isinstance(head, BNNeckHead)
    }
    return {
        name: feature.to(torch.promote_types(feature.dtype, torch.float32)) - means.get(name, 0.0)
        for name, feature in features.items()
    }


def similarity_terms(
    features: Mapping[str, Tensor],
    others: Mapping[str, Tensor],
    feature: str,
    constant_lengths: bool = False,
) -> dict[str, Tensor]:
    """Compute what each feature adds to the cosine of two concatenations.

    Args:
        features: Features of shape ``(B, D)`` by name, from :func:`centered_features`.
        others: Features to compare with, row by row.
        feature: Name of the feature; ``'all'`` for all of them side by side.
        constant_lengths: Whether gradients take the lengths of the features as given. The gradient
            of a true cosine is zero between a photo and itself.

    Returns:
        Terms of shape ``(B,)`` by name, which add up to the cosine; a single one but for ``'all'``.

    Example:
        >>> left, right = torch.rand(2, 3, 6)
        >>> sides = [dict(a=side[:, :4], b=side[:, 4:]) for side in (left, right)]
        >>> terms = similarity_terms(*sides, 'all')
        >>> (terms['a'] + terms['b']).allclose(torch.cosine_similarity(left, right))
        True
    """
    names = list(features) if feature == ALL else [feature]
    squares = [
        torch.stack([side[name].square().sum(1) for name in names]).sum(0)
        for side in (features, others)
    ]
    scale = (squares[0] * squares[1]).clamp_min(1e-24).sqrt()
    if constant_lengths:
        scale = scale.detach()
    return {name: (features[name] * others[name]).sum(1) / scale for name in names}


def similarity(
    model: FusionReID,
    features: Mapping[str, Tensor],
    others: Mapping[str, Tensor],
    feature: str,
) -> Tensor:
    """Compute the cosine of two features after :func:`centered_features`.

    Without centering, most of a cosine is what all people have in common: it is near one for two
    photos of different people, too.

    Args:
        model: The model.
        features: Features before the BNNecks, of shape ``(B, D)``, by name.
        others: Features to compare with, row by row.
        feature: Name of the feature; ``'all'`` for all of them side by side.

    Returns:
        Similarities of shape ``(B,)``, in [-1, 1].
    """
    left, right = centered_features(model, features), centered_features(model, others)
    return torch.stack(list(similarity_terms(left, right, feature).values())).sum(0)


def check_feature(model: FusionReID, feature: str) -> None:
    """Check the name of a feature, or ``'all'``.

    Args:
        model: The model.
        feature: The name.

    Raises:
        ExplainError: If the model has no such feature.
    """
    if feature not in (ALL, *model.feature_widths):
        raise ExplainError(
            f'feature {feature!r} is unknown: the model gives {[*model.feature_widths, ALL]}'
        )
