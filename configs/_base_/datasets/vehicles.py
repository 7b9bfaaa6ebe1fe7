# Vehicles are as wide as they are high.
_base_ = './reid.py'

input_size = (256, 256)  # height, width

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
for step in (*train_pipeline, *test_pipeline):
    if 'scale' in step:
        step.scale = input_size[::-1]
del step

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
