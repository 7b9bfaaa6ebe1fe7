# ResNet-18 that learns from the published model, which is trained before.
_base_ = '../baselines/r50_market1501.py'

model = dict(
    type='FusionReIDDistiller',
    branches=dict(cnn=dict(backbone=dict(depth=18))),
    teacher=dict(
        cfg='fusionreid_vitb_r50_market1501',
        checkpoint='work_dirs/fusionreid_vitb_r50_market1501/epoch_180.pth',
        precision='fp32',
        cache=None,  # a folder keeps the features of the clean images
    ),
    distill_losses=dict(
        relational=dict(type='RelationalLoss', loss_weight=10.0),
        feature=dict(type='FeatureLoss', loss_weight=2.0),
    ),
)
