# All images of all but MSMT17, scored on it.
_base_ = './fusionreid_vitb_r50_protocol2-msmt17.py'

train_dataloader = dict(dataset=dict(images='all'))
model = dict(head=dict(num_classes=14902))
