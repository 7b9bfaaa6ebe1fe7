"""Feature distillation: a projection of the student's feature is the teacher's."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .distillation_loss_base import DistillationLoss
from .pair_loss_base import at_least_float32


@at_least_float32
def feature_loss(student: Tensor, teacher: Tensor, distance: str = 'cosine') -> Tensor:
    """Compare features of the same width, image by image.

    Args:
        student: Features of shape ``(B, D)``; half-precision ones are computed in float32.
        teacher: Features of the same images, of the same shape.
        distance: ``'cosine'`` for 1 - cosine, ``'mse'`` for the mean squared difference.

    Returns:
        Scalar mean over the images.

    Example:
        >>> import torch
        >>> feature_loss(torch.eye(2), torch.ones(2, 2))
        tensor(0.2929)
        >>> feature_loss(torch.eye(2), 2 * torch.eye(2), 'mse')
        tensor(0.5000)
    """
    if distance == 'mse':
        return F.mse_loss(student, teacher)
    return (1 - F.cosine_similarity(student, teacher)).mean()


class FeatureLoss(DistillationLoss):
    """The feature itself, projected to the teacher's width; see :func:`feature_loss`.

    The projection is learned with the student, and left behind with the teacher. The teacher's
    features are taken after its BNNecks, which subtract their mean: without that, those of all
    people are nearly parallel, and any projection to the mean would do. Of a teacher without heads
    they are taken as they are.

    Args:
        in_channels: Width of the student's feature.
        teacher_channels: Width of the teacher's feature.
        distance: ``'cosine'`` (default) or ``'mse'``.
        loss_weight: Factor of the loss. Defaults to 1.
        student_feature: As of
            :class:`~fusionreid.models.losses.distillation_loss_base.DistillationLoss`.
        teacher_feature: As there.

    Raises:
        ValueError: If the distance is unknown.
    """

    compares = 'normalized'

    def __init__(
        self,
        in_channels: int,
        teacher_channels: int,
        distance: str = 'cosine',
        loss_weight: float = 1.0,
        student_feature: str = 'all',
        teacher_feature: str = 'all',
    ) -> None:
        super().__init__(loss_weight, student_feature, teacher_feature)
        if distance not in ('cosine', 'mse'):
            raise ValueError(f"the distance must be 'cosine' or 'mse', got {distance!r}")
        self.distance = distance
        self.projection = nn.Linear(in_channels, teacher_channels)

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compute the unweighted loss; see :meth:`DistillationLoss.compare`."""
        return feature_loss(self.projection(student), teacher, self.distance)
