# Ablation: the MFUs before the SEU.
_base_ = '../fusionreid_vitb_r50_msmt17.py'

model = dict(neck=dict(units=('mfu', 'seu')))
