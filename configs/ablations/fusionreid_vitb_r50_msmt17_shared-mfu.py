# Ablation: the branches share the MFU and not the SEU.
_base_ = '../fusionreid_vitb_r50_msmt17.py'

model = dict(neck=dict(shared=('mfu',)))
