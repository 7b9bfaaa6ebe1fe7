# Rendered people in Market-1501's layout (`fusionreid render`).
_base_ = './reid.py'

input_size = (128, 64)  # height, width
dataset_type = 'MarketStyleDataset'
data_root = 'data/synthetic'

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
for step in (*train_pipeline, *test_pipeline):
    if 'scale' in step:
        step.scale = input_size[::-1]
    if 'padding' in step:
        step.padding = 5  # as large beside 128x64 as 10 is beside 256x128
del step

train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    sampler=dict(ids_per_batch=8, instances_per_id=4),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        dataset_name='Synthetic',
        num_cameras=6,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        dataset_name='Synthetic',
        num_cameras=6,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
