from __future__ import annotations

from torch import Tensor, nn

from fusionreid.registry import MODELS

from .batch_hard import batch_hard_triplet_loss
from .joined_batch import join_batches

MINING = ('local', 'global')


@MODELS.register_module()
class BatchHardTripletLoss(nn.Module):
    """Batch-hard triplet loss with a soft or a fixed margin; see :func:`batch_hard_triplet_loss`.

    Args:
        margin: None (default) for the soft margin, else a fixed margin, at least 0, in units of
            feature distance.
        loss_weight: Factor of the loss. Defaults to 1.
        mining: Where positives and negatives come from when several processes train: ``'local'``
            (default), each process's own batch, or ``'global'``, the batches of all of them. Under
            DistributedDataParallel the latter gives loss and gradient of one process on the joined
            batch; see :func:`~fusionreid.models.losses.joined_batch.join_batches`.

    Raises:
        ValueError: If the margin is negative or the mining unknown.
    """

    def __init__(
        self, margin: float | None = None, loss_weight: float = 1.0, mining: str = 'local'
    ) -> None:
        super().__init__()
        if margin is not None and margin < 0:
            raise ValueError(f'the triplet margin must be None or at least 0, got {margin}')
        if mining not in MINING:
            raise ValueError(f'the mining must be one of {MINING}, got {mining!r}')
        self.margin = margin
        self.loss_weight = loss_weight
        self.mining = mining

    def forward(self, features: Tensor, ids: Tensor) -> Tensor:
        """Return the weighted loss of features ``(B, D)`` with identities ``(B,)``."""
        if self.mining == 'global':
            features, ids = join_batches(features, ids)
        return self.loss_weight * batch_hard_triplet_loss(features, ids, self.margin)
