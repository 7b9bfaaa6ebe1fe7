# A quarter-width ResNet-18 that learns from the fusion of the quickstart.
_base_ = '../synthetic/r18_synthetic.py'

model = dict(
    type='FusionReIDDistiller',
    teacher=dict(
        cfg='fusionreid_vittiny_r18_synthetic',
        checkpoint='work_dirs/fusionreid_vittiny_r18_synthetic/epoch_6.pth',
        precision='fp32',
        cache=None,  # a folder keeps the features of the clean images
    ),
    distill_losses=dict(
        relational=dict(type='RelationalLoss', loss_weight=10.0),
        feature=dict(type='FeatureLoss', loss_weight=2.0),
    ),
)
