# Vehicles are as wide as they are high.
_base_ = './reid.py'

input_size = (256, 256)  # height, width
dataset_type = 'VehicleID'
data_root = 'data/vehicleid'

# The smallest test list, scored over ten random galleries; 1600 and 2400 are the others.
test_size = 800

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
for step in (*train_pipeline, *test_pipeline):
    if 'scale' in step:
        step.scale = input_size[::-1]
del step

train_dataloader = dict(
    dataset=dict(
        type=dataset_type, data_root=data_root, test_size=test_size, pipeline=train_pipeline
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type, data_root=data_root, test_size=test_size, pipeline=test_pipeline
    )
)
test_dataloader = val_dataloader
