# mmpretrain's ImageClassifier, its pipeline and its ResNet, with our head, losses, sampler and
# metric. It runs in an mmpretrain project: `mim train mmpretrain CONFIG`.
_base_ = ['../_base_/mmpretrain_runtime.py']

model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=50, strides=(1, 2, 2, 1), out_indices=(3,)),
    neck=dict(type='GeneralizedMeanPooling'),
    head=dict(
        type='fusionreid.BNNeckHead',
        in_channels=2048,
        num_classes=751,
        loss_id=dict(type='fusionreid.IDLoss', label_smoothing=0.1),
        loss_triplet=dict(type='fusionreid.BatchHardTripletLoss'),
    ),
)

val_dataloader = dict(dataset=dict(split='test'))
val_evaluator = dict(type='fusionreid.ReIDMetric')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
