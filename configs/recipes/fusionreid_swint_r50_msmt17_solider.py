# Swin-T of SOLIDER.
_base_ = './fusionreid_swinb_r50_msmt17_solider.py'

model = dict(
    branches=dict(
        transformer=dict(
            backbone=dict(
                backbone=dict(arch='tiny'),
                init_cfg=dict(checkpoint='weights/solider_swin_tiny.pth'),
            )
        )
    )
)
