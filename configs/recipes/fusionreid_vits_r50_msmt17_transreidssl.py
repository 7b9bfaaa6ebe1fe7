# ViT-S/16 of TransReID-SSL, without ICS.
_base_ = './fusionreid_vits_r50_msmt17_personvit.py'

model = dict(
    branches=dict(
        transformer=dict(
            backbone=dict(
                init_cfg=dict(checkpoint='weights/vit_small_cfs_lup.pth'),
            )
        )
    )
)
