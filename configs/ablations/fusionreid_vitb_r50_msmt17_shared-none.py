# Ablation: the branches share no unit, as in the authors' released code.
_base_ = '../fusionreid_vitb_r50_msmt17.py'

model = dict(neck=dict(shared=()))
