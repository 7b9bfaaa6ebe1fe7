# The transformer branch alone.
_base_ = '../fusionreid_vitb_r50_msmt17.py'

model = dict(branches=dict(cnn=None), neck=None)
