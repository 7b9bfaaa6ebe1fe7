_base_ = [
    '../_base_/models/fusionreid_vitb_r50_people.py',
    '../_base_/datasets/msmt17.py',
    '../_base_/schedules/adamw_decay_120e.py',
    '../_base_/finetuning_runtime.py',
]

model = dict(
    branches=dict(transformer=dict(backbone=dict(num_cameras=15))),
    head=dict(num_classes=1041),
)
