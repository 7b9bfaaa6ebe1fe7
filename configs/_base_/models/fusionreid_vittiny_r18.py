# A small FusionReID for 128x64 images: a quarter-width ResNet-18 and a four-layer ViT, which learn
# from scratch on a CPU in minutes.
model = dict(
    type='FusionReID',
    data_preprocessor=dict(type='ReIDDataPreprocessor', random_erasing=dict(probability=0.3)),
    branches=dict(
        cnn=dict(
            backbone=dict(
                type='ReIDResNet',
                depth=18,
                base_channels=16,
                stem_channels=16,
                # torch's own initialization: in a run this short, residual blocks that start at
                # zero and Kaiming's larger weights cost more than ten points of mAP.
                zero_init_residual=False,
                init_cfg=[],
            ),
            pooling=dict(type='GeMPooling'),
        ),
        transformer=dict(
            backbone=dict(
                type='ReIDVisionTransformer',
                arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
                img_size=(128, 64),
                patch_stride=16,
                num_cameras=None,
            )
        ),
    ),
    neck=dict(type='DualAttentionMutualFusion', embed_dims=128, num_layers=2, num_heads=4),
    head=dict(type='BNNeckHead', num_classes=None),
)
