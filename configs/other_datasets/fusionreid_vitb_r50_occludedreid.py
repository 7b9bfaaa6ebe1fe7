# Trained on Market-1501, scored on two test sets of occluded people, as is usual for them.
_base_ = '../fusionreid_vitb_r50_market1501.py'

unseen = [
    dict(type='OccludedREID', data_root='data/occluded-reid'),
    dict(type='PartialREID', data_root='data/partial-reid'),
]
test_dataloader = dict(dataset=unseen[0])
test_cfg = dict(type='CrossDomainTestLoop', datasets=unseen)
