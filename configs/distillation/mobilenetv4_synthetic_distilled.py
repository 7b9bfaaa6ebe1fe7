# The small MobileNetV4 of timm as the student.
_base_ = './r18_synthetic_distilled.py'

model = dict(
    branches=dict(
        cnn=dict(
            backbone=dict(
                _delete_=True,
                type='BackboneAdapter',
                img_size=(128, 64),
                backbone=dict(type='timm', model_name='mobilenetv4_conv_small'),
            )
        )
    )
)
