"""Logit distillation: the student scores the training identities as the teacher does."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from .distillation_loss_base import DistillationLoss
from .pair_loss_base import at_least_float32


@at_least_float32
def logit_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """Compute the divergence of softened probabilities (arXiv 1503.02531).

    Args:
        student: Scores of shape ``(B, num_classes)``; half-precision ones are computed in float32.
        teacher: Scores of the same images, of the same shape.
        temperature: Divisor of the scores, above 0.

    Returns:
        Scalar mean over the images of the Kullback-Leibler divergence from the teacher, times the
        squared temperature, which keeps the size of the gradient.

    Example:
        >>> import torch
        >>> scores = torch.tensor([[2.0, 0.0]])
        >>> logit_loss(scores, scores), logit_loss(-scores, scores, temperature=1.0)
        (tensor(0.), tensor(1.5232))
    """
    own, other = (F.log_softmax(each / temperature, dim=1) for each in (student, teacher))
    return temperature**2 * F.kl_div(own, other, reduction='batchmean', log_target=True)


class LogitLoss(DistillationLoss):
    """Logit distillation; see :func:`logit_loss`. Teacher and student need the same identities.

    Args:
        temperature: Divisor of the scores, above 0. Defaults to 4.
        loss_weight: Factor of the loss. Defaults to 1.
        student_feature: Name of the feature whose scores learn, or ``'all'`` (default) for the mean
            over all features with a classifier.
        teacher_feature: Name of the feature from whose scores they learn, or ``'all'`` (default).

    Raises:
        ValueError: If the temperature is not above 0.
    """

    compares = 'scores'

    def __init__(
        self,
        temperature: float = 4.0,
        loss_weight: float = 1.0,
        student_feature: str = 'all',
        teacher_feature: str = 'all',
    ) -> None:
        super().__init__(loss_weight, student_feature, teacher_feature)
        if not temperature > 0:
            raise ValueError(f'the temperature must be above 0, got {temperature}')
        self.temperature = temperature

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compute the unweighted loss; see :meth:`DistillationLoss.compare`."""
        return logit_loss(student, teacher, self.temperature)
