# Eight images of each tracklet; None takes all, a million.
_base_ = './reid.py'

dataset_type = 'MARS'
data_root = 'data/mars'

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, frames=8))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, frames=8))
test_dataloader = val_dataloader
