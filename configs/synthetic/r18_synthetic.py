# The CNN branch alone.
_base_ = './fusionreid_vittiny_r18_synthetic.py'

model = dict(branches=dict(transformer=None), neck=None)
