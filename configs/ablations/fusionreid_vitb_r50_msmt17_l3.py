# Ablation: the number L of HTMs, 2 as published.
_base_ = '../fusionreid_vitb_r50_msmt17.py'

model = dict(neck=dict(num_layers=3))
