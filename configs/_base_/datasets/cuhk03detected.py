# New protocol, detected boxes.
_base_ = './reid.py'

dataset_type = 'CUHK03'
data_root = 'data/cuhk03'

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, boxes='detected'))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, boxes='detected'))
test_dataloader = val_dataloader
