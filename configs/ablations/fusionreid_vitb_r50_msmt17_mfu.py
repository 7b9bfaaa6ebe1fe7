# Ablation: the layers have the MFUs alone.
_base_ = '../fusionreid_vitb_r50_msmt17.py'

model = dict(neck=dict(units=('mfu',)))
