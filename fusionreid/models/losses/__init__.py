from .triplet_loss import BatchHardTripletLoss, batch_hard_triplet_loss

__all__ = ['BatchHardTripletLoss', 'batch_hard_triplet_loss']
