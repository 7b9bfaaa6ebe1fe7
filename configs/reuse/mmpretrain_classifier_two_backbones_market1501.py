# Our fusion neck inside mmpretrain's ImageClassifier, with two of its backbones.
_base_ = ['../_base_/mmpretrain_runtime.py']

widths = dict(cnn=2048, transformer=768)
embed_dims = 768
stages = ('refined', 'fused')

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='fusionreid.ParallelBackbones',
        backbones=dict(
            cnn=dict(type='ResNet', depth=50, strides=(1, 2, 2, 1), out_indices=(3,)),
            transformer=dict(
                type='VisionTransformer', arch='base', img_size=(256, 128), out_type='featmap'
            ),
        ),
    ),
    neck=dict(
        type='fusionreid.DualAttentionMutualFusion',
        in_channels=widths,
        embed_dims=embed_dims,
        num_layers=2,
    ),
    head=dict(
        type='fusionreid.FeatureHeads',
        in_channels={f'{name}_{stage}': embed_dims for stage in stages for name in widths},
        head=dict(type='fusionreid.BNNeckHead', num_classes=751),
    ),
)

val_dataloader = dict(dataset=dict(split='test'))
val_evaluator = dict(type='fusionreid.ReIDMetric')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
