_base_ = [
    '../_base_/models/fusionreid_vitb_r50.py',
    '../_base_/datasets/ltcc.py',
    '../_base_/schedules/sgd_180e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    branches=dict(transformer=dict(backbone=dict(num_cameras=12))),
    head=dict(num_classes=77),
)
