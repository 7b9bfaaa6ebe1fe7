# MixNet of timm as the student: its layers have kernels of several sizes, as OSNet, which timm does
# not have, looks at several scales.
_base_ = './r18_synthetic_distilled.py'

model = dict(
    branches=dict(
        cnn=dict(
            backbone=dict(
                _delete_=True,
                type='BackboneAdapter',
                img_size=(128, 64),
                backbone=dict(type='timm', model_name='mixnet_s'),
            )
        )
    )
)
