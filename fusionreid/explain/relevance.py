"""Which pixels matter: for the score of a class, and for what makes two photos alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fusionreid.errors import ExplainError
from fusionreid.models import BNNeckHead, FusionReID

from .activations import RecordedFeatures, record_features
from .cam import grad_cam
from .integrated_gradients import integrated_gradients
from .recording import check_inputs, eval_mode, extract_features, gradients
from .similarity import centered_features, check_feature, similarity_terms

GRAD_CAM, INTEGRATED_GRADIENTS = 'gradcam', 'integrated_gradients'
METHODS = (GRAD_CAM, INTEGRATED_GRADIENTS)
METHOD_NAMES = {GRAD_CAM: 'Grad-CAM', INTEGRATED_GRADIENTS: 'integrated gradients'}
# Rows of cells that attributions of pixels are summed over, however large the image is.
ROWS = 16

Terms = dict[str, Tensor]
TermScorer = Callable[[dict[str, Tensor]], dict[str, Terms]]


def class_relevance(
    model: FusionReID,
    images: Tensor,
    classes: Tensor | None = None,
    features: Sequence[str] | None = None,
    method: str = INTEGRATED_GRADIENTS,
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
        method: ``'integrated_gradients'`` or ``'gradcam'``.
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
    scored = [name for name, head in model.heads.items() if head.classifier is not None]
    if left := [name for name in names if name not in scored]:
        raise ExplainError(f'no classifier scores {left[0]!r}: give some of {scored}')
    if classes is not None:
        _check_classes(model, images, classes)
        chosen = dict.fromkeys(names, classes)
    else:
        with gradients(), torch.no_grad():
            found = extract_features(model, images, camera_ids)
            chosen = {name: _class_scores(model, name, found[name]).argmax(1) for name in names}

    def score(found: dict[str, Tensor]) -> dict[str, Terms]:
        scores = {name: _class_scores(model, name, found[name]) for name in names}
        return {
            name: {name: each.gather(1, chosen[name].clone().to(each.device)[:, None])[:, 0]}
            for name, each in scores.items()
        }

    return _relevance(model, images, camera_ids, score, method)


def describe_class_relevance(method: str = INTEGRATED_GRADIENTS) -> str:
    """State what maps of :func:`class_relevance` without ``classes`` are of.

    Args:
        method: Name of the method.

    Returns:
        Method and score.
    """
    return (
        f'{METHOD_NAMES[method]} of the score of the training identity that each feature scores '
        'highest'
    )


def pair_relevance(
    model: FusionReID,
    images: Tensor,
    others: Tensor,
    features: Sequence[str] | None = None,
    method: str = INTEGRATED_GRADIENTS,
    camera_ids: Tensor | None = None,
    other_camera_ids: Tensor | None = None,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Compute which pixels make pairs of photos alike, for each feature.

    The score is :func:`fusionreid.explain.similarity.similarity`; the map of one photo takes the
    other one as given. A photo and itself are a pair, too: that map shows what the feature is made
    of.

    Args:
        model: The model.
        images: Normalized images of shape ``(B, 3, H, W)``.
        others: The other photo of each pair, of shape ``(B, 3, H2, W2)``.
        features: Names of the features, of which ``'all'`` stands for all of them side by side;
            None for all that the model gives, one by one.
        method: ``'integrated_gradients'`` or ``'gradcam'``.
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
    sides = ((images, camera_ids), (others, other_camera_ids))
    with gradients(), torch.no_grad():
        left, right = (centered_features(model, extract_features(model, *side)) for side in sides)

    def scorer(references: dict[str, Tensor]) -> TermScorer:
        def score(found: dict[str, Tensor]) -> dict[str, Terms]:
            centered = centered_features(model, found)
            return {
                name: similarity_terms(centered, references, name, method == GRAD_CAM)
                for name in names
            }

        return score

    first, second = (
        _relevance(model, *side, scorer(references), method)
        for side, references in zip(sides, (right, left), strict=True)
    )
    return {name: (first[name], second[name]) for name in names}


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


def _relevance(
    model: FusionReID, images: Tensor, camera_ids: Tensor | None, score: TermScorer, method: str
) -> dict[str, Tensor]:
    """Compute the relevance of pixels for scores.

    Args:
        model: The model.
        images: Normalized images of shape ``(B, 3, H, W)``.
        camera_ids: Cameras of shape ``(B,)``, or None.
        score: From features to scores by name, each in terms of shape ``(B,)`` by the feature that
            they are made of.
        method: Name of the method.

    Returns:
        Maps of shape ``(B, H, W)`` by name of the score.
    """
    size = (images.shape[2], images.shape[3])
    if method == GRAD_CAM:
        recorded = record_features(model, images, camera_ids)
        with gradients():
            scores = score(recorded.features)
            return {
                name: to_pixels(_weigh(recorded, terms), size) for name, terms in scores.items()
            }
    attributions = integrated_gradients(
        model,
        images,
        lambda found: {
            name: torch.stack(list(terms.values())).sum(0) for name, terms in score(found).items()
        },
        camera_ids,
    )
    # Within a cell, noise of both signs cancels.
    grid = (ROWS, max(1, round(ROWS * size[1] / size[0])))
    return {
        name: to_pixels({name: F.adaptive_avg_pool2d(pixels, grid)}, size)
        for name, pixels in attributions.items()
    }


def _weigh(recorded: RecordedFeatures, scores: Terms) -> dict[str, Tensor]:
    """Compute Grad-CAM of a score.

    Args:
        recorded: Features and activations of the images.
        scores: The score, in terms by the feature that each is made of.

    Returns:
        Maps of shape ``(B, H', W')`` by branch, with their signs.
    """
    maps: dict[str, Tensor] = {}
    for feature, score in scores.items():
        sources = recorded.sources(feature)
        slopes = torch.autograd.grad(
            score.sum(), list(sources.values()), retain_graph=True, allow_unused=True
        )
        for (branch, activations), slope in zip(sources.items(), slopes, strict=True):
            if slope is None:  # the feature does not come from this branch
                continue
            map_ = grad_cam(
                recorded.on_grid(branch, activations.detach()), recorded.on_grid(branch, slope)
            )
            maps[branch] = maps[branch] + map_ if branch in maps else map_
    return maps


def _class_scores(model: FusionReID, name: str, feature: Tensor) -> Tensor:
    """Scores of all training identities, of shape ``(B, num_classes)``, as in testing."""
    head: Any = model.heads[name]  # a BNNeckHead
    with eval_mode(head):
        return head.classifier(head(feature))


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
