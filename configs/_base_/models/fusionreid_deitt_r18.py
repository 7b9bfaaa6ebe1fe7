# A FusionReID that a CPU trains overnight: DeiT-Ti/16 at stride 16 and ResNet-18 on 256x128 images,
# and a neck as wide as the transformer. A config that uses it gives the data set's numbers of
# identities (num_classes) and cameras (num_cameras).
_base_ = './fusionreid_vitb_r50.py'

model = dict(
    branches=dict(
        cnn=dict(backbone=dict(depth=18)),
        transformer=dict(backbone=dict(arch='deit-tiny', patch_stride=16)),
    ),
    neck=dict(embed_dims=192, num_heads=6),
)
