# Ablation: the layers have the SEU alone.
_base_ = '../fusionreid_vitb_r50_msmt17.py'

model = dict(neck=dict(units=('seu',)))
