"""Losses, registered here and not where they are defined, so that those files need torch alone."""

from fusionreid.registry import MODELS

from .center_loss import CenterLoss
from .gathered_batch import gather_batches
from .id_loss import IDLoss
from .metric_loss import MetricLoss
from .supcon_loss import SupConLoss, supcon_loss
from .triplet_loss import BatchHardTripletLoss, batch_hard_triplet_loss
from .weighted_triplet_loss import WeightedTripletLoss, weighted_triplet_loss

for _loss in (
    BatchHardTripletLoss,
    CenterLoss,
    IDLoss,
    MetricLoss,
    SupConLoss,
    WeightedTripletLoss,
):
    MODELS.register_module(module=_loss)

__all__ = [
    'BatchHardTripletLoss',
    'CenterLoss',
    'IDLoss',
    'MetricLoss',
    'SupConLoss',
    'WeightedTripletLoss',
    'batch_hard_triplet_loss',
    'gather_batches',
    'supcon_loss',
    'weighted_triplet_loss',
]
