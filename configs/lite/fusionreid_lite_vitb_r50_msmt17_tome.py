# A lighter model: also the ViT merges similar tokens, down to a quarter in its last block.
_base_ = './fusionreid_lite_vitb_r50_msmt17.py'

model = dict(branches=dict(transformer=dict(backbone=dict(keep_ratio=0.25))))
