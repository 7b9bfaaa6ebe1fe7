_base_ = './vehicles.py'

dataset_type = 'VehicleID'
data_root = 'data/vehicleid'

# The smallest test list, scored over ten random galleries; 1600 and 2400 are the others.
test_size = 800

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, test_size=test_size))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, test_size=test_size))
test_dataloader = val_dataloader
