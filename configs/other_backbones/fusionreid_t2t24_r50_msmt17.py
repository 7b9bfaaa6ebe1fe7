_base_ = '../fusionreid_t2t14_r50_msmt17.py'

model = dict(
    branches=dict(transformer=dict(backbone=dict(embed_dims=512, num_layers=24, num_heads=8)))
)
