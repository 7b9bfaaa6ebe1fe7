from .batch_hard import batch_hard_triplet_loss
from .id_loss import IDLoss
from .joined_batch import join_batches
from .triplet_loss import BatchHardTripletLoss

__all__ = ['BatchHardTripletLoss', 'IDLoss', 'batch_hard_triplet_loss', 'join_batches']
