_base_ = './fusionreid_vitb_r50_dukemtmc_384x128.py'

model = dict(branches=dict(transformer=dict(backbone=dict(patch_stride=16))))
