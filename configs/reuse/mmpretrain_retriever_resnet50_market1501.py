# mmpretrain's ImageToImageRetriever, which holds the gallery as its prototypes, with our head,
# losses and sampler. Its queries are scored by the similarities that it gives.
_base_ = ['../_base_/mmpretrain_runtime.py']

gallery = dict(type='fusionreid.Market1501', data_root=_base_.data_root, split='gallery')

model = dict(
    type='ImageToImageRetriever',
    image_encoder=dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet', depth=50, strides=(1, 2, 2, 1), out_indices=(3,)),
        neck=dict(type='GeneralizedMeanPooling'),
    ),
    head=dict(type='fusionreid.BNNeckHead', in_channels=2048, num_classes=751),
    prototype=dict(
        batch_size=64,
        num_workers=4,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(pipeline=_base_.test_pipeline, **gallery),
    ),
)

val_dataloader = dict(dataset=dict(split='query'))
val_evaluator = dict(type='fusionreid.PrototypeReIDMetric', gallery=gallery)
test_dataloader = val_dataloader
test_evaluator = val_evaluator
custom_hooks = [dict(type='PrepareProtoBeforeValLoopHook')]
