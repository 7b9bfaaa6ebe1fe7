# Swin-B of SOLIDER. It has no class token and no camera embedding.
_base_ = './fusionreid_vitb_r50_msmt17_personvit.py'

model = dict(
    branches=dict(
        transformer=dict(
            backbone=dict(
                _delete_=True,
                type='BackboneAdapter',
                img_size=(256, 128),
                backbone=dict(
                    type='mmpretrain.SwinTransformer',
                    arch='base',
                    drop_path_rate=0.1,
                    # Takes what SOLIDER adds between its stages.
                    stage_cfgs=dict(downsample_cfg=dict(bias=True)),
                ),
                init_cfg=dict(
                    type='Pretrained',
                    checkpoint='weights/solider_swin_base.pth',
                    # SOLIDER's choice for ReID, between appearance (0) and body parts (1).
                    semantic_weight=0.2,
                ),
            ),
            pooling=dict(type='GeMPooling'),
        )
    )
)
