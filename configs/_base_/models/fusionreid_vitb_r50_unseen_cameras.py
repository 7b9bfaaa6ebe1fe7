# The cameras of an unseen data set are none of those that were trained with.
_base_ = './fusionreid_vitb_r50.py'

model = dict(branches=dict(transformer=dict(backbone=dict(num_cameras=0))))
