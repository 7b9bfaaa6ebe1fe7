# ViT-B/16 of PASS, whose part tokens are left out.
_base_ = './fusionreid_vitb_r50_msmt17_personvit.py'

model = dict(
    branches=dict(
        transformer=dict(
            backbone=dict(
                init_cfg=dict(checkpoint='weights/pass_vit_base_full.pth'),
            )
        )
    )
)
