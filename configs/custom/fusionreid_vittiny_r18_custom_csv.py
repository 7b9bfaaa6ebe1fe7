# Your own people, see docs/own_photos.md: a small model on 128x64 images, which a CPU trains in
# minutes to an hour. The counts are those of the training set, as in the other configs here.
_base_ = [
    '../_base_/models/fusionreid_vittiny_r18.py',
    '../_base_/datasets/custom_csv_cpu.py',
    '../_base_/schedules/adamw_30e.py',
    '../_base_/default_runtime.py',
]

input_size = (128, 64)  # height, width
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
for step in (*train_pipeline, *test_pipeline):
    if 'scale' in step:
        step.scale = input_size[::-1]
    if 'padding' in step:
        step.padding = 5  # as large beside 128x64 as 10 is beside 256x128
del step

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
