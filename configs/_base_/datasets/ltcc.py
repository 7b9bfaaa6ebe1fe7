_base_ = './reid.py'

dataset_type = 'LTCC'
data_root = 'data/ltcc'

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader

# The clothes-changing protocol; without it, the standard one.
val_evaluator = dict(remove_same_clothes=True)
test_evaluator = val_evaluator
