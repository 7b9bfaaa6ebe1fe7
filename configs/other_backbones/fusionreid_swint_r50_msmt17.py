# Another transformer through the adapter: Swin-T of mmpretrain. It has no class token.
_base_ = '../fusionreid_vitb_r50_msmt17.py'

model = dict(
    branches=dict(
        transformer=dict(
            backbone=dict(
                _delete_=True,
                type='BackboneAdapter',
                img_size=(256, 128),
                backbone=dict(type='mmpretrain.SwinTransformer', arch='tiny', drop_path_rate=0.1),
            ),
            pooling=dict(type='GeMPooling'),
        )
    )
)
