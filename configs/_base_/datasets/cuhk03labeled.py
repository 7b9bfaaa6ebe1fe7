# New protocol, boxes drawn by hand.
_base_ = './reid.py'

dataset_type = 'CUHK03'
data_root = 'data/cuhk03'

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, boxes='labeled'))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, boxes='labeled'))
test_dataloader = val_dataloader
