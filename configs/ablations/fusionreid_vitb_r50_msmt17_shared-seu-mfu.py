# Ablation: the branches share the SEU and the MFU.
_base_ = '../fusionreid_vitb_r50_msmt17.py'

model = dict(neck=dict(shared=('seu', 'mfu')))
