"""Losses, registered here and not where they are defined, so that those files need torch alone."""

from fusionreid.registry import MODELS

from .center_loss import CenterLoss
from .feature_loss import FeatureLoss, feature_loss
from .gathered_batch import gather_batches
from .id_loss import IDLoss
from .logit_loss import LogitLoss, logit_loss
from .metric_loss import MetricLoss
from .relational_loss import RelationalLoss, angle_loss, distance_loss
from .similarity_loss import SimilarityLoss, similarity_loss
from .supcon_loss import SupConLoss, supcon_loss
from .triplet_loss import BatchHardTripletLoss, batch_hard_triplet_loss
from .weighted_triplet_loss import WeightedTripletLoss, weighted_triplet_loss

for _loss in (
    BatchHardTripletLoss,
    CenterLoss,
    FeatureLoss,
    IDLoss,
    LogitLoss,
    MetricLoss,
    RelationalLoss,
    SimilarityLoss,
    SupConLoss,
    WeightedTripletLoss,
):
    MODELS.register_module(module=_loss)

__all__ = [
    'BatchHardTripletLoss',
    'CenterLoss',
    'FeatureLoss',
    'IDLoss',
    'LogitLoss',
    'MetricLoss',
    'RelationalLoss',
    'SimilarityLoss',
    'SupConLoss',
    'WeightedTripletLoss',
    'angle_loss',
    'batch_hard_triplet_loss',
    'distance_loss',
    'feature_loss',
    'gather_batches',
    'logit_loss',
    'similarity_loss',
    'supcon_loss',
    'weighted_triplet_loss',
]
