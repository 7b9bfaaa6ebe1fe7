# Swin-B of SOLIDER at the size of its published scores.
_base_ = './fusionreid_swinb_r50_msmt17_solider.py'

input_size = (384, 128)  # height, width
model = dict(branches=dict(transformer=dict(backbone=dict(img_size=input_size))))
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
for step in (*train_pipeline, *test_pipeline):
    if 'scale' in step:
        step.scale = input_size[::-1]  # (width, height)
del step
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
