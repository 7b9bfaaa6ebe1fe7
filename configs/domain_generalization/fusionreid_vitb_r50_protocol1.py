# All images of four data sets, scored on four small ones.
_base_ = [
    '../_base_/models/fusionreid_vitb_r50_unseen_cameras.py',
    '../_base_/datasets/joint.py',
    '../_base_/schedules/sgd_60e.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(
    dataset=dict(
        datasets=[
            _base_.sources.market1501,
            _base_.sources.cuhk02,
            _base_.sources.cuhk03,
            _base_.sources.cuhksysu,
        ],
        images='all',
    )
)
# One table of four small sets, each over ten random halves of its people.
unseen = [
    dict(type='PRID2011', data_root='data/prid2011'),
    dict(type='GRID', data_root='data/grid'),
    dict(type='VIPeR', data_root='data/viper'),
    dict(type='ILIDS', data_root='data/ilids'),
]
test_dataloader = dict(dataset=unseen[0])
test_cfg = dict(type='CrossDomainTestLoop', datasets=unseen)

model = dict(head=dict(num_classes=16718))
