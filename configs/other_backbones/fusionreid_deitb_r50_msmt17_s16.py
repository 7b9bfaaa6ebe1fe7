_base_ = '../fusionreid_deitb_r50_msmt17.py'

model = dict(branches=dict(transformer=dict(backbone=dict(patch_stride=16))))
