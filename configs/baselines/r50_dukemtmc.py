# The CNN branch alone.
_base_ = '../fusionreid_vitb_r50_dukemtmc.py'

model = dict(branches=dict(transformer=None), neck=None)
