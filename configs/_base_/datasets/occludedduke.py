_base_ = './reid.py'

dataset_type = 'OccludedDuke'
data_root = 'data/occluded-duke'

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
