# TinyViT of timm as the student, half as wide as its smallest. Without a class token, its map is
# pooled.
_base_ = './r18_synthetic_distilled.py'

model = dict(
    branches=dict(
        cnn=None,
        transformer=dict(
            _delete_=True,
            backbone=dict(
                type='BackboneAdapter',
                img_size=(128, 64),
                backbone=dict(
                    type='timm',
                    model_name='tiny_vit_5m_224',
                    embed_dims=(32, 64, 80, 160),
                    num_heads=(1, 2, 4, 5),
                ),
            ),
            pooling=dict(type='GeMPooling'),
        ),
    )
)
