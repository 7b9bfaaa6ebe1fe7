"""Which pixels matter: for the score of a class, and for what makes two photos alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fusionreid.errors import ExplainError
from fusionreid.evaluation.feature_set import ALL
from fusionreid.models import BNNeckHead, FusionReID

from .activations import RecordedFeatures, record_features
from .cam import METHODS
from .recording import check_inputs, eval_mode, gradients
from .similarity import centered_features, check_feature, similarity_terms


def class_relevance(
    model: FusionReID,
    images: Tensor,
    classes: Tensor | None = None,
    features: Sequence[str] | None = None,
    method: str = 'hirescam',
    camera_ids: Tensor | None = None,
) -> dict[str, Tensor]:
    """Compute which pixels raise the score of a training identity, for each feature.

    The score is the classifier's, before the softmax.

    Args:
        model: A model with heads.
        images: Normalized images of shape ``(B, 3, H, W)``.
        classes: Training identities of shape ``(B,)``, in ``[0, num_classes)``. None for the one
            that each feature scores highest, as for people that were not trained with.
        features: Names of the features; None for all that the model gives.
        method: ``'hirescam'`` or ``'gradcam'``; see :mod:`fusionreid.explain.cam`.
        camera_ids: 0-based cameras of shape ``(B,)``, -1 for unknown; None means all unknown.

    Returns:
        Maps of shape ``(B, H, W)`` by feature, float32; see :func:`to_pixels`.

    Raises:
        ExplainError: If the model has no heads, or an argument is not what is described.
    """
    check_inputs(model, images, camera_ids)
    names = _feature_names(model, features, method)
    if not all(isinstance(head, BNNeckHead) for head in model.heads.values()) or not model.heads:
        raise ExplainError('the model has no BNNeckHead, so there is no score of a class')
    if ALL in names:
        raise ExplainError(
            f'no classifier scores {ALL!r}: give one of {list(model.feature_widths)}'
        )
    if classes is not None:
        _check_classes(model, images, classes)
    recorded = record_features(model, images, camera_ids)
    relevance = {}
    with gradients(), eval_mode(model):
        for name in names:
            head: Any = model.heads[name]
            scores = head.classifier(head(recorded.features[name]))
            chosen = scores.argmax(1) if classes is None else classes.to(scores.device)
            score = scores.gather(1, chosen[:, None]).sum()
            relevance[name] = to_pixels(_weigh(recorded, {name: score}, method), recorded.size)
    return relevance


def pair_relevance(
    model: FusionReID,
    images: Tensor,
    others: Tensor,
    features: Sequence[str] | None = None,
    method: str = 'hirescam',
    camera_ids: Tensor | None = None,
    other_camera_ids: Tensor | None = None,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Compute which pixels make pairs of photos alike, for each feature.

    The score is :func:`fusionreid.explain.similarity.similarity`, whose gradient by one photo takes
    the other one as given. A photo and itself are a pair, too: that map shows what the feature is
    made of.

    Args:
        model: The model.
        images: Normalized images of shape ``(B, 3, H, W)``.
        others: The other photo of each pair, of shape ``(B, 3, H2, W2)``.
        features: Names of the features, of which ``'all'`` stands for all of them side by side;
            None for all that the model gives, one by one.
        method: ``'hirescam'`` or ``'gradcam'``; see :mod:`fusionreid.explain.cam`.
        camera_ids: 0-based cameras of shape ``(B,)``, -1 for unknown; None means all unknown.
        other_camera_ids: Cameras of the other photos.

    Returns:
        By feature, the maps of both photos, ``(B, H, W)`` and ``(B, H2, W2)``, float32; see
        :func:`to_pixels`.

    Raises:
        ExplainError: If an argument is not what is described.
    """
    check_inputs(model, images, camera_ids)
    check_inputs(model, others, other_camera_ids)
    if len(images) != len(others):
        raise ExplainError(
            f'got {len(images)} images and {len(others)} others: give one other for each image'
        )
    names = _feature_names(model, features, method)
    sides = [
        record_features(model, images, camera_ids),
        record_features(model, others, other_camera_ids),
    ]
    relevance = {}
    with gradients():
        left, right = (centered_features(model, side.features) for side in sides)
        for name in names:
            terms = similarity_terms(left, right, name)
            scores = {part: term.sum() for part, term in terms.items()}
            first, second = (to_pixels(_weigh(side, scores, method), side.size) for side in sides)
            relevance[name] = first, second
    return relevance


def to_pixels(maps: Mapping[str, Tensor], size: tuple[int, int]) -> Tensor:
    """Join the maps of the branches at the size of the image.

    What lowers the score is left out. Each map is interpolated bilinearly and keeps its sum, which
    is in units of the score. The maps of the branches are added, and each image's map is divided by
    its sum.

    Args:
        maps: Maps of shape ``(B, H', W')`` by branch, with their signs.
        size: Height and width of the images.

    Returns:
        Maps of shape ``(B, H, W)``, float32, not negative. Each sums to one, or is zero where
        nothing raises the score.

    Example:
        >>> maps = dict(cnn=torch.tensor([[[3.0], [1.0]]]), transformer=-torch.ones(1, 2, 2))
        >>> to_pixels(maps, (2, 2))
        tensor([[[0.3750, 0.3750],
                 [0.1250, 0.1250]]])
    """
    positive = [map_.float().clamp_min(0) for map_ in maps.values()]
    shapes = [_sum_to_one(_interpolate(map_, size)) for map_ in positive]
    weighted = [
        map_.sum((1, 2), keepdim=True) * shape for map_, shape in zip(positive, shapes, strict=True)
    ]
    return _sum_to_one(torch.stack(weighted).sum(0))


def _interpolate(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps[:, None], size, mode='bilinear', align_corners=False)[:, 0]


def _sum_to_one(maps: Tensor) -> Tensor:
    total = maps.sum((1, 2), keepdim=True)
    return torch.where(total > 0, maps / total, 0.0)


def _weigh(
    recorded: RecordedFeatures, scores: Mapping[str, Tensor], method: str
) -> dict[str, Tensor]:
    """Weigh the activations that scores come from.

    Args:
        recorded: Features and activations of the images.
        scores: The score, in terms by the feature that each is made of.
        method: Name of the method.

    Returns:
        Maps of shape ``(B, H', W')`` by branch, with their signs.
    """
    maps: dict[str, Tensor] = {}
    for feature, score in scores.items():
        sources = recorded.sources(feature)
        gradients = torch.autograd.grad(
            score, list(sources.values()), retain_graph=True, allow_unused=True
        )
        for (branch, activations), gradient in zip(sources.items(), gradients, strict=True):
            if gradient is None:  # the feature does not come from this branch
                continue
            map_ = METHODS[method](
                recorded.on_grid(branch, activations.detach()), recorded.on_grid(branch, gradient)
            )
            maps[branch] = maps[branch] + map_ if branch in maps else map_
    return maps


def _feature_names(model: FusionReID, features: Sequence[str] | None, method: str) -> list[str]:
    if method not in METHODS:
        raise ExplainError(f'method {method!r} is unknown: give one of {list(METHODS)}')
    # A single string would be taken for its letters.
    names = [features] if isinstance(features, str) else list(features or model.feature_widths)
    for name in names:
        check_feature(model, name)
    return names


def _check_classes(model: FusionReID, images: Tensor, classes: Tensor) -> None:
    if classes.shape != images.shape[:1]:
        raise ExplainError(
            f'got {len(images)} images but classes of shape {tuple(classes.shape)}: give one for '
            'each image'
        )
    num_classes = model.num_classes or 0
    outside = (classes < 0) | (classes >= num_classes)
    if outside.any():
        raise ExplainError(
            f'class {int(classes[outside][0])} is outside the {num_classes} training '
            'identities of the model (0-based)'
        )
