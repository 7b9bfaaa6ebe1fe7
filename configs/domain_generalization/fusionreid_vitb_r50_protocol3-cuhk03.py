# All images of all but CUHK03, scored on it.
_base_ = './fusionreid_vitb_r50_protocol2-cuhk03.py'

train_dataloader = dict(dataset=dict(images='all'))
model = dict(head=dict(num_classes=17536))
