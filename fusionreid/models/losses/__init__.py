from .id_loss import IDLoss
from .joined_batch import join_batches
from .triplet_loss import BatchHardTripletLoss, batch_hard_triplet_loss

__all__ = ['BatchHardTripletLoss', 'IDLoss', 'batch_hard_triplet_loss', 'join_batches']
