# Ablation: the mixing width d, 768 as published.
_base_ = '../fusionreid_vitb_r50_msmt17.py'

model = dict(neck=dict(embed_dims=384))
