# What all data sets share: pipelines at 256x128, batches and scoring.
# A derived config for another input size changes `scale` in both pipelines, see docs/datasets.md.
input_size = (256, 128)  # height, width

train_pipeline = [
    dict(type='LoadReIDImage'),
    # mmcv's order is (width, height). Resampled as Pillow does in the published pipeline.
    dict(type='AntialiasedResize', scale=input_size[::-1], interpolation='bicubic'),
    dict(type='RandomHorizontalFlip', prob=0.5),
    dict(type='RandomPadCrop', padding=10),
    dict(type='PackReIDInputs'),
]
test_pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='AntialiasedResize', scale=input_size[::-1], interpolation='bilinear'),
    dict(type='PackReIDInputs'),
]

train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,  # the batch goes to a GPU while it computes; without a GPU it does nothing
    # Stacks the images in the worker: one shared buffer per batch instead of 128.
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='PKSampler', ids_per_batch=8, instances_per_id=16),
    dataset=dict(split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(split='test', pipeline=test_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='ReIDMetric')
test_evaluator = val_evaluator
