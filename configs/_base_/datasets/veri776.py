_base_ = './vehicles.py'

dataset_type = 'VeRi776'
data_root = 'data/veri776'

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
