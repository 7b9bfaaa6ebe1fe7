"""The ID loss: cross-entropy over the training identities."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class IDLoss(nn.Module):
    """Cross-entropy over the training identities, with label smoothing.

    It equals mmpretrain's ``LabelSmoothLoss``, which fetches the largest identity from the device
    in every step: that stops the queue of a GPU, and breaks the graph of ``torch.compile``.

    Args:
        label_smoothing: Share of the target that is spread over all identities. Defaults to 0.1.
        loss_weight: Factor of the loss. Defaults to 1.

    Raises:
        ValueError: If ``label_smoothing`` is outside [0, 1).

    Example:
        >>> import torch
        >>> IDLoss()(torch.zeros(2, 4), torch.tensor([0, 3]))  # log(4), of a blind guess
        tensor(1.3863)
    """

    def __init__(self, label_smoothing: float = 0.1, loss_weight: float = 1.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'label_smoothing must be in [0, 1), got {label_smoothing}')
        self.label_smoothing = label_smoothing
        self.loss_weight = loss_weight

    def forward(self, scores: Tensor, ids: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            scores: Scores of shape ``(B, num_classes)``.
            ids: Identities of shape ``(B,)``, in ``[0, num_classes)``.

        Returns:
            The weighted mean loss, a scalar.
        """
        return self.loss_weight * F.cross_entropy(scores, ids, label_smoothing=self.label_smoothing)
