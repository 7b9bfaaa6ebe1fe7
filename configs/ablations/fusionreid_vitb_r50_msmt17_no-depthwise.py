# Ablation: the LRUs without their depth-wise half.
_base_ = '../fusionreid_vitb_r50_msmt17.py'

model = dict(neck=dict(depthwise=False))
