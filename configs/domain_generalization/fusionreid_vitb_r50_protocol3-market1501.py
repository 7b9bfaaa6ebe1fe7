# All images of all but Market-1501, scored on it.
_base_ = './fusionreid_vitb_r50_protocol2-market1501.py'

train_dataloader = dict(dataset=dict(images='all'))
model = dict(head=dict(num_classes=17502))
