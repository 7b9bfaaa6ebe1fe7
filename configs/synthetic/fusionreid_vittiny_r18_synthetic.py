# What `fusionreid quickstart` trains: 300 rendered people, six epochs, a few minutes on two cores.
_base_ = [
    '../_base_/models/fusionreid_vittiny_r18.py',
    '../_base_/datasets/synthetic.py',
    '../_base_/default_runtime.py',
]

model = dict(
    branches=dict(transformer=dict(backbone=dict(num_cameras=6))),
    head=dict(num_classes=300),
)
optim_wrapper = dict(
    constructor='MergedParamGroups',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
)
auto_scale_lr = dict(base_batch_size=32)
param_scheduler = dict(type='WarmupCosineLR', warmup_epochs=0, final_factor=0.01)
train_cfg = dict(by_epoch=True, max_epochs=6, val_interval=2)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(checkpoint=dict(interval=2))
