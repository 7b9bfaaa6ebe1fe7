# Your own people: give --cfg-options model.head.num_classes=<training identities>
# model.branches.transformer.backbone.num_cameras=<cameras>, see docs/datasets.md.
_base_ = [
    './_base_/models/fusionreid_vitb_r50.py',
    './_base_/datasets/custom_market.py',
    './_base_/schedules/sgd_180e.py',
    './_base_/default_runtime.py',
]
