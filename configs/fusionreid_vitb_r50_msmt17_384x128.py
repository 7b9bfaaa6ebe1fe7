_base_ = './fusionreid_vitb_r50_msmt17.py'

input_size = (384, 128)  # height, width
train_pipeline = _base_.train_pipeline
train_pipeline[1].scale = input_size[::-1]
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = input_size[::-1]

model = dict(branches=dict(transformer=dict(backbone=dict(img_size=input_size))))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
