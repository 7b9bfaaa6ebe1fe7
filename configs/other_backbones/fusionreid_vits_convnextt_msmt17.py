# Two other branches through the adapter: ConvNeXt-T of mmpretrain and ViT-S/16 of timm.
_base_ = '../fusionreid_vitb_r50_msmt17.py'

model = dict(
    branches=dict(
        cnn=dict(
            backbone=dict(
                _delete_=True,
                type='BackboneAdapter',
                img_size=(256, 128),
                backbone=dict(type='mmpretrain.ConvNeXt', arch='tiny', drop_path_rate=0.1),
            )
        ),
        transformer=dict(
            backbone=dict(
                _delete_=True,
                type='BackboneAdapter',
                img_size=(256, 128),
                backbone=dict(type='timm', model_name='vit_small_patch16_224', drop_path_rate=0.1),
            )
        ),
    )
)
