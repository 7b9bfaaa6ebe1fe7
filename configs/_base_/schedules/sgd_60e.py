# The published recipe in a third of its epochs, for training sets that are larger, without scores
# in training.
_base_ = './sgd_180e.py'

train_cfg = dict(max_epochs=60)
val_cfg = None
