_base_ = './fusionreid_t2t24_r50_msmt17.py'

model = dict(branches=dict(cnn=dict(backbone=dict(depth=152))))
