_base_ = './fusionreid_vitb_r50_market1501_384x128.py'

model = dict(branches=dict(transformer=dict(backbone=dict(patch_stride=16))))
