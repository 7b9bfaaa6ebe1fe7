# What the configs in `reuse` have in common: the data, through mmpretrain's pipeline, the
# sampler and the schedule.
default_scope = 'mmpretrain'
custom_imports = dict(imports=['fusionreid'], allow_failed_imports=False)

data_root = 'data/market1501'
size = (256, 128)  # height, width
# The fields of our data sets that the head and the metric read.
meta_keys = ('sample_idx', 'img_path', 'person_id', 'camera_id', 'role')

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=size[::-1]),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='RandomCrop', crop_size=size[::-1], padding=10),
    dict(type='PackInputs', meta_keys=meta_keys),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=size[::-1]),
    dict(type='PackInputs', meta_keys=meta_keys),
]
data_preprocessor = dict(
    type='ClsDataPreprocessor',
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    to_rgb=True,
)

train_dataloader = dict(
    batch_size=64,  # ids_per_batch x instances_per_id
    num_workers=4,
    sampler=dict(type='fusionreid.PKSampler', ids_per_batch=16, instances_per_id=4),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='fusionreid.Market1501',
        data_root=data_root,
        split='train',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='fusionreid.Market1501', data_root=data_root, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=3.5e-4, weight_decay=5e-4), clip_grad=dict(max_norm=5)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=True, end=5),
    dict(type='MultiStepLR', by_epoch=True, milestones=[40, 70]),
]
train_cfg = dict(by_epoch=True, max_epochs=90, val_interval=10)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval=10, save_best='reid/mAP', rule='greater')
)
