# A small FusionReID for 128x64 images that trains on a CPU in minutes, from scratch.
model = dict(
    type='FusionReID',
    data_preprocessor=dict(type='ReIDDataPreprocessor', random_erasing=dict(probability=0.5)),
    branches=dict(
        cnn=dict(
            backbone=dict(
                type='ReIDResNet', depth=18, stem='standard', base_channels=32, stem_channels=32
            ),
            pooling=dict(type='GeMPooling'),
        ),
        transformer=dict(
            backbone=dict(
                type='ReIDVisionTransformer',
                arch=dict(embed_dims=192, num_layers=6, num_heads=3, feedforward_channels=768),
                img_size=(128, 64),
                patch_size=16,
                patch_stride=12,
                num_cameras=None,
            )
        ),
    ),
    neck=dict(type='DualAttentionMutualFusion', embed_dims=192, num_layers=2, num_heads=3),
    head=dict(type='BNNeckHead', num_classes=None),
)
