# MixNet of timm as the student: its layers have kernels of several sizes, as OSNet, which timm does
# not have, looks at several scales.
_base_ = './mobilenetv4_synthetic_distilled.py'

model = dict(branches=dict(cnn=dict(backbone=dict(backbone=dict(model_name='mixnet_s')))))
