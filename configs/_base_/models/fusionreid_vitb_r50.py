# FusionReID with ResNet-50 and ViT-B/16 at stride 12, as published. A config that uses it gives the
# data set's numbers of identities (num_classes) and cameras (num_cameras).
model = dict(
    type='FusionReID',
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        random_erasing=dict(probability=0.5),
    ),
    branches=dict(
        cnn=dict(
            # The stem of the authors' released code: the published numbers were measured with it.
            backbone=dict(type='ReIDResNet', depth=50, stem='release'),
            pooling=dict(type='GeMPooling'),
        ),
        transformer=dict(
            backbone=dict(
                type='ReIDVisionTransformer',
                arch='base',
                img_size=(256, 128),
                patch_stride=12,
                drop_path_rate=0.1,
                num_cameras=None,
            )
        ),
    ),
    neck=dict(
        type='DualAttentionMutualFusion',
        embed_dims=768,
        num_layers=2,
        units=('seu', 'mfu'),
        shared=('seu',),
    ),
    head=dict(
        type='BNNeckHead',
        num_classes=None,
        loss_id=dict(type='IDLoss', label_smoothing=0.1),
        loss_triplet=dict(type='BatchHardTripletLoss', margin=None),
    ),
)
