"""Classifiers of training identities: a linear one, and cosines that leave their own a margin."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionreid.registry import MODELS


@MODELS.register_module()
class LinearClassifier(nn.Linear):
    """A linear classifier without a bias.

    Args:
        in_channels: Width D of the feature.
        num_classes: Identities in the training set.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, bias=False)
        nn.init.normal_(self.weight, std=0.001)

    def forward(self, features: Tensor, ids: Tensor | None = None) -> Tensor:
        """Score all identities.

        Args:
            features: Features after the BNNeck, of shape ``(B, D)``.
            ids: Not used here.

        Returns:
            Scores of shape ``(B, num_classes)``.
        """
        return super().forward(features)


class _CosineClassifier(nn.Module):
    """Scaled cosines between features and a direction per identity."""

    def __init__(self, in_channels: int, num_classes: int, scale: float, margin: float) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f'the scale of the cosines must be above 0, got {scale}')
        if not 0 <= margin < 1:
            raise ValueError(f'the margin of the cosines must be in [0, 1), got {margin}')
        self.scale = scale
        self.margin = margin
        self.weight = nn.Parameter(torch.empty(num_classes, in_channels))
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, features: Tensor, ids: Tensor | None = None) -> Tensor:
        """Score all identities, in float32 where the features are in half precision.

        Args:
            features: Features after the BNNeck, of shape ``(B, D)``.
            ids: Identities of shape ``(B,)``, which get the margin; None for cosines without one,
                as in testing.

        Returns:
            Scores of shape ``(B, num_classes)``.
        """
        with torch.autocast(features.device.type, enabled=False):
            wide = torch.promote_types(features.dtype, torch.float32)
            directions = F.normalize(self.weight.to(wide))
            cosines = F.linear(F.normalize(features.to(wide)), directions)
            if ids is None:
                return self.scale * cosines
            itself = torch.arange(len(self.weight), device=ids.device) == ids[:, None]
            return self.scale * self._leave_margin(cosines, itself)

    def _leave_margin(self, cosines: Tensor, itself: Tensor) -> Tensor:
        """Change cosines, given where a row meets its own identity."""
        raise NotImplementedError


@MODELS.register_module()
class CosFaceClassifier(_CosineClassifier):
    """Cosines with a margin subtracted: CosFace (arXiv 1801.09414), which AM-Softmax equals.

    Args:
        in_channels: Width D of the feature.
        num_classes: Identities in the training set.
        scale: Factor of the cosines, above 0. Defaults to 30.
        margin: Subtracted from the cosine of the own identity, in [0, 1). Defaults to 0.35.

    Raises:
        ValueError: If scale or margin are out of range.

    Example:
        >>> classifier = CosFaceClassifier(in_channels=2, num_classes=2, scale=10.0, margin=0.5)
        >>> _ = classifier.weight.data.copy_(torch.eye(2))
        >>> classifier(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).tolist()
        [[5.0, 0.0]]
    """

    def __init__(
        self, in_channels: int, num_classes: int, scale: float = 30.0, margin: float = 0.35
    ) -> None:
        super().__init__(in_channels, num_classes, scale, margin)

    def _leave_margin(self, cosines: Tensor, itself: Tensor) -> Tensor:
        return torch.where(itself, cosines - self.margin, cosines)


@MODELS.register_module()
class ArcFaceClassifier(_CosineClassifier):
    """Cosines of the angle plus a margin: ArcFace (arXiv 1801.07698).

    Past the angle at which the sum exceeds 180 degrees, where its cosine would rise again, the
    cosine is lowered by ``margin * sin(margin)`` instead, as is usual.

    Args:
        in_channels: Width D of the feature.
        num_classes: Identities in the training set.
        scale: Factor of the cosines, above 0. Defaults to 30.
        margin: Added to the angle to the own identity, in radians, in [0, 1). Defaults to 0.5.

    Raises:
        ValueError: If scale or margin are out of range.

    Example:
        >>> classifier = ArcFaceClassifier(in_channels=2, num_classes=2, scale=1.0, margin=0.5)
        >>> _ = classifier.weight.data.copy_(torch.eye(2))
        >>> classifier(torch.tensor([[3.0, 0.0]]), torch.tensor([0]))  # cos(0.5)
        tensor([[0.8776, 0.0000]], grad_fn=<MulBackward0>)
    """

    def __init__(
        self, in_channels: int, num_classes: int, scale: float = 30.0, margin: float = 0.5
    ) -> None:
        super().__init__(in_channels, num_classes, scale, margin)

    def _leave_margin(self, cosines: Tensor, itself: Tensor) -> Tensor:
        # The slope of the sine is infinite at an angle of 0.
        sines = (1 - cosines.square()).clamp(min=1e-12).sqrt()
        turned = cosines * math.cos(self.margin) - sines * math.sin(self.margin)
        lowered = cosines - self.margin * math.sin(self.margin)
        near = cosines > math.cos(math.pi - self.margin)
        return torch.where(itself, torch.where(near, turned, lowered), cosines)


@MODELS.register_module()
class CircleClassifier(_CosineClassifier):
    """Cosines weighted by how far they are from their optimum: Circle loss (arXiv 2002.10857).

    With cross-entropy it is the loss of the paper with class-level labels (equation 6).

    Args:
        in_channels: Width D of the feature.
        num_classes: Identities in the training set.
        scale: Factor of the weighted cosines, above 0. Defaults to 64.
        margin: Relaxation m of the optimum, in [0, 1). Defaults to 0.25.

    Raises:
        ValueError: If scale or margin are out of range.

    Example:
        >>> classifier = CircleClassifier(in_channels=2, num_classes=2, scale=1.0, margin=0.25)
        >>> _ = classifier.weight.data.copy_(torch.eye(2))
        >>> classifier(torch.tensor([[1.0, 0.0]]), torch.tensor([0])).tolist()
        [[0.0625, -0.0625]]
    """

    def __init__(
        self, in_channels: int, num_classes: int, scale: float = 64.0, margin: float = 0.25
    ) -> None:
        super().__init__(in_channels, num_classes, scale, margin)

    def _leave_margin(self, cosines: Tensor, itself: Tensor) -> Tensor:
        fixed = cosines.detach()
        own = F.relu(1 + self.margin - fixed) * (cosines - (1 - self.margin))
        others = F.relu(fixed + self.margin) * (cosines - self.margin)
        return torch.where(itself, own, others)
