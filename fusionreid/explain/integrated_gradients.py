"""Integrated gradients: what each pixel adds to a score, whatever the network is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fusionreid.errors import ExplainError
from fusionreid.models import FusionReID

from .recording import extract_features, gradients

# From features (B, D) by name to scores (B,) by name.
Scorer = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]


def integrated_gradients(
    model: FusionReID,
    images: Tensor,
    scorer: Scorer,
    camera_ids: Tensor | None = None,
    steps: int = 8,
) -> dict[str, Tensor]:
    """Integrate the gradient of scores from a photo of one color to the photo (arXiv 1703.01365).

    With the photo x, its mean color x', and the score s, pixel i gets ``(x_i - x'_i) integral of
    ds/dx_i (x' + t (x - x')) dt`` for t from 0 to 1, by the midpoint rule, summed over the color
    channels. The pixels of a photo add up to ``s(x) - s(x')``.

    Args:
        model: The model.
        images: Normalized images of shape ``(B, 3, H, W)``.
        scorer: From features before the BNNecks, ``(B, D)`` by name, to scores ``(B,)`` by name.
        camera_ids: 0-based cameras of shape ``(B,)``, -1 for unknown; None means all unknown.
        steps: Points at which gradients are computed.

    Returns:
        Attributions of shape ``(B, H, W)``, with their signs, by name of the score.

    Raises:
        ExplainError: If the number of steps, the images or the cameras are not what is described,
            or a score has no gradient.
    """
    if steps < 1:
        raise ExplainError(f'steps must be at least 1, got {steps}')
    with gradients():
        images = images.detach().clone()
        difference = images - images.mean((2, 3), keepdim=True)
        totals: dict[str, Tensor] = {}
        for step in range(steps):
            left = 1 - (step + 0.5) / steps
            point = (images - left * difference).requires_grad_()
            scores = scorer(extract_features(model, point, camera_ids))
            for name, score in scores.items():
                gradient = None
                if score.requires_grad:
                    (gradient,) = torch.autograd.grad(
                        score.sum(), point, retain_graph=True, allow_unused=True
                    )
                if gradient is None:
                    raise ExplainError(
                        f'the score of {name!r} has no gradient by the pixels, so no relevance can '
                        'be computed'
                    )
                totals[name] = totals.get(name, 0.0) + gradient
    return {name: (total * difference).sum(1) / steps for name, total in totals.items()}
