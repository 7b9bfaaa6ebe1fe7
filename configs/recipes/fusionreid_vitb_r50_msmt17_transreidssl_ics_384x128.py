# ViT-B/16 of TransReID-SSL with its convolutional stem (ICS).
_base_ = './fusionreid_vitb_r50_msmt17_personvit_384x128.py'

model = dict(
    branches=dict(
        transformer=dict(
            backbone=dict(
                stem='convolutional',
                init_cfg=dict(checkpoint='weights/vit_base_ics_cfs_lup.pth'),
            )
        )
    )
)
