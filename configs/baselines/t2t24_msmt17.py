# The transformer branch alone.
_base_ = '../other_backbones/fusionreid_t2t24_r50_msmt17.py'

model = dict(branches=dict(cnn=None), neck=None)
