# The small ResNet-18 on three rendered worlds together, scored on people of a fourth. Rendered by
# `fusionreid render data/worlds/street --world street` and so on.
_base_ = '../synthetic/r18_synthetic.py'

data_root = 'data/worlds'
joined = [
    dict(
        type='MarketStyleDataset',
        data_root=f'{data_root}/{world}',
        dataset_name=world,
        num_cameras=6,
    )
    for world in ('street', 'winter', 'mall')
]
unseen = dict(data_root=f'{data_root}/night', dataset_name='night')

train_dataloader = dict(
    sampler=dict(ids_per_batch=9, by='sets'),
    batch_size=36,
    dataset=dict(
        _delete_=True,
        type='JointDataset',
        datasets=joined,
        split='train',
        pipeline=_base_.train_pipeline,
    ),
)
test_dataloader = dict(dataset=unseen)
# Nothing is scored in training, since choosing by the unseen world would be a leak.
val_cfg = val_dataloader = val_evaluator = None

model = dict(
    branches=dict(cnn=dict(backbone=dict(ibn=True))),
    head=dict(num_classes=900),
)
