# ViT-S/16 of PersonViT.
_base_ = './fusionreid_vitb_r50_msmt17_personvit.py'

model = dict(
    branches=dict(
        transformer=dict(
            backbone=dict(
                arch='deit-small',
                init_cfg=dict(checkpoint='weights/personvit_vits_0220.pth'),
            )
        )
    )
)
