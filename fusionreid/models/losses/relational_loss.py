"""Relational distillation: distances and angles within the batch are those of the teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .distillation_loss_base import DistillationLoss
from .pair_loss_base import at_least_float32

# Of unit vectors: what is nearer counts as the same point, which has no direction to another.
_SMALLEST = 1e-6


def pairwise_distances(features: Tensor) -> Tensor:
    """Compute the Euclidean distances between L2-normalized features.

    Args:
        features: Features of shape ``(B, D)``.

    Returns:
        Distances of shape ``(B, B)``.
    """
    units = F.normalize(features)
    # Not by a matrix product, in which small distances would drown.
    return torch.cdist(units, units, compute_mode='donot_use_mm_for_euclid_dist')


@at_least_float32
def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare the distances of all pairs, each over the mean distance (arXiv 1904.05068, RKD-D).

    Args:
        student: Features of shape ``(B, D)``; half-precision ones are computed in float32.
        teacher: Features of the same images, of shape ``(B, D')``.

    Returns:
        Scalar mean of the Huber losses of all pairs; 0 for a single image.

    Example:
        >>> student, teacher = torch.eye(3), torch.eye(3)
        >>> distance_loss(student, 2 * teacher)  # of any length
        tensor(0.)
        >>> distance_loss(student, torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        tensor(0.2500)
    """
    pairs = len(student) * (len(student) - 1)
    if not pairs:
        return student.sum() * 0
    # Those of an image to itself are 0 and add nothing.
    own, other = (pairwise_distances(each) for each in (student, teacher))
    own, other = (each / (each.sum() / pairs).clamp(min=_SMALLEST) for each in (own, other))
    return F.smooth_l1_loss(own, other, reduction='sum') / pairs


def angle_cosines(features: Tensor) -> Tensor:
    """Compute the cosines of the angles that all triplets of features form.

    Args:
        features: Features of shape ``(B, D)``, L2-normalized here.

    Returns:
        Cosines of shape ``(B, B, B)``: at ``[j, i, k]`` that of the angle at j between i and k; 0
        where two of the three are the same image, or j is the same point as one of the others.
    """
    distances = pairwise_distances(features)
    # The law of cosines, since features are wide and the batch is small.
    to_i, to_k = distances[:, :, None], distances[:, None, :]
    product = 2 * to_i * to_k
    cosines = (to_i**2 + to_k**2 - distances[None] ** 2) / product.clamp(min=_SMALLEST**2)
    apart = (to_i > _SMALLEST) & (to_k > _SMALLEST)
    same = torch.eye(len(features), dtype=torch.bool, device=features.device)
    return torch.where(apart & ~same, cosines, 0.0)


@at_least_float32
def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare the cosines of the angles of all triplets (arXiv 1904.05068, RKD-A).

    Args:
        student: Features of shape ``(B, D)``; half-precision ones are computed in float32.
        teacher: Features of the same images, of shape ``(B, D')``.

    Returns:
        Scalar mean of the Huber losses of all triplets of different images; 0 for fewer than three
        images.

    Example:
        >>> angle_loss(torch.eye(3), torch.eye(3)).item()
        0.0
    """
    count = len(student)
    triplets = count * (count - 1) * (count - 2)
    if not triplets:
        return student.sum() * 0
    own, other = angle_cosines(student), angle_cosines(teacher)
    return F.smooth_l1_loss(own, other, reduction='sum') / triplets


class RelationalLoss(DistillationLoss):
    """The distances and angles within the batch; see :func:`distance_loss`, :func:`angle_loss`.

    Teacher and student may differ in width, and nothing has to be learned to compare them. Features
    are L2-normalized, as they are for scoring.

    Args:
        distance_weight: Factor of the distances. Defaults to 1, as in the paper.
        angle_weight: Factor of the angles. Defaults to 2, as in the paper.
        loss_weight: Factor of both. Defaults to 1.
        student_feature: As of
            :class:`~fusionreid.models.losses.distillation_loss_base.DistillationLoss`.
        teacher_feature: As there.
    """

    def __init__(
        self,
        distance_weight: float = 1.0,
        angle_weight: float = 2.0,
        loss_weight: float = 1.0,
        student_feature: str = 'all',
        teacher_feature: str = 'all',
    ) -> None:
        super().__init__(loss_weight, student_feature, teacher_feature)
        self.distance_weight = distance_weight
        self.angle_weight = angle_weight

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compute the unweighted loss; see :meth:`DistillationLoss.compare`."""
        return self.distance_weight * distance_loss(
            student, teacher
        ) + self.angle_weight * angle_loss(student, teacher)
