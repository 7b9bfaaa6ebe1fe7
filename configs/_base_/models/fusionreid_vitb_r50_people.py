# FusionReID with branches that were trained on unlabeled people before: ViT-B/16 of PersonViT and
# ResNet-50 of LUPerson. docs/weights.md says where the two files come from.
_base_ = './fusionreid_vitb_r50.py'

model = dict(
    branches=dict(
        cnn=dict(
            backbone=dict(
                # The stem that the weights were trained with.
                stem='standard',
                init_cfg=dict(type='Pretrained', checkpoint='weights/lup_moco_r50.pth'),
            )
        ),
        transformer=dict(
            backbone=dict(
                init_cfg=dict(type='Pretrained', checkpoint='weights/personvit_vitb_0260.pth')
            )
        ),
    )
)
