"""Similarity-preserving distillation: the similarities within the batch are the teacher's."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from .distillation_loss_base import DistillationLoss
from .pair_loss_base import at_least_float32


@at_least_float32
def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare the products of all pairs, normalized image by image (arXiv 1907.09682).

    Args:
        student: Features of shape ``(B, D)``; half-precision ones are computed in float32.
        teacher: Features of the same images, of shape ``(B, D')``.

    Returns:
        Scalar mean of the squared differences.

    Example:
        >>> import torch
        >>> similarity_loss(torch.eye(2), 3 * torch.eye(2))
        tensor(0.)
        >>> similarity_loss(torch.eye(2), torch.ones(2, 1))  # 4 values differ by 0.7 or 0.3
        tensor(0.2929)
    """
    own, other = (F.normalize(each @ each.t()) for each in (student, teacher))
    return F.mse_loss(own, other)


class SimilarityLoss(DistillationLoss):
    """Similarity-preserving loss; see :func:`similarity_loss`."""

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compute the unweighted loss; see :meth:`DistillationLoss.compare`."""
        return similarity_loss(student, teacher)
