# A lighter fusion: the HTMs read patch tokens that are means of 2x2 patches and are encoded once.
_base_ = '../fusionreid_vitb_r50_market1501.py'

model = dict(neck=dict(patch_pooling=2, encode_once=True))
