# The transformer branch alone.
_base_ = './fusionreid_vittiny_r18_synthetic.py'

model = dict(branches=dict(cnn=None), neck=None)
