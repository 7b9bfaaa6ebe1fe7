# The training images of all but MSMT17, scored on it.
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
            _base_.sources.cuhk03,
            _base_.sources.cuhksysu,
        ],
    )
)
test_dataloader = dict(dataset=_base_.sources.msmt17)

model = dict(head=dict(num_classes=13452))
