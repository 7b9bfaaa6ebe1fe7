# Queries in other clothes, all images of camera A in the gallery; see the class for the others.
_base_ = './reid.py'

dataset_type = 'PRCC'
data_root = 'data/prcc'

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
