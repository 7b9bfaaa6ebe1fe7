_base_ = './fusionreid_vitb_r50_msmt17.py'

input_size = (384, 128)  # height, width
model = dict(branches=dict(transformer=dict(backbone=dict(img_size=input_size))))
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[1].scale = test_pipeline[1].scale = input_size[::-1]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
