_base_ = './r50_msmt17.py'

model = dict(branches=dict(cnn=dict(backbone=dict(depth=101))))
