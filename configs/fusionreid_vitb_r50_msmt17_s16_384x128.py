_base_ = './fusionreid_vitb_r50_msmt17_384x128.py'

model = dict(branches=dict(transformer=dict(backbone=dict(patch_stride=16))))
