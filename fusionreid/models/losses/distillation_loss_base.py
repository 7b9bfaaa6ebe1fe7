"""What the losses share by which a student learns from a teacher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn


class DistillationLoss(nn.Module, ABC):
    """A loss that compares what a student and its teacher make of the same images.

    Args:
        loss_weight: Factor of the loss. Defaults to 1.
        student_feature: Name of the student's feature that learns, or ``'all'`` (default) for all
            of them side by side.
        teacher_feature: Name of the teacher's feature that it learns from, or ``'all'`` (default).
    """

    # What of the teacher is compared: 'features', features after the BNNeck as 'normalized', or
    # 'scores' of the training identities, of which 'all' are the mean. Of the student it is the
    # same, but features before the BNNeck in any case.
    compares: ClassVar[str] = 'features'

    def __init__(
        self, loss_weight: float = 1.0, student_feature: str = 'all', teacher_feature: str = 'all'
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.student_feature = student_feature
        self.teacher_feature = teacher_feature

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            student: The student's features ``(B, D)`` or scores ``(B, num_classes)``.
            teacher: The teacher's of the same images, float32, without gradient.

        Returns:
            The weighted loss, a scalar.
        """
        return self.loss_weight * self.compare(student, teacher)

    @abstractmethod
    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compute the loss, unweighted.

        Args:
            student: As for :meth:`forward`.
            teacher: As for :meth:`forward`.

        Returns:
            A scalar.
        """
