"""Losses, registered here and not where they are defined, so that those files need torch alone."""

from fusionreid.registry import MODELS

from .gathered_batch import gather_batches
from .id_loss import IDLoss
from .triplet_loss import BatchHardTripletLoss, batch_hard_triplet_loss

for _loss in (BatchHardTripletLoss, IDLoss):
    MODELS.register_module(module=_loss)

__all__ = ['BatchHardTripletLoss', 'IDLoss', 'batch_hard_triplet_loss', 'gather_batches']
