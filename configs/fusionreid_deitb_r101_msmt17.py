# DeiT-B differs from ViT-B in its starting weights alone.
_base_ = './fusionreid_vitb_r101_msmt17.py'

model = dict(branches=dict(transformer=dict(backbone=dict(arch='deit-base'))))
