# Your own people, see docs/datasets.md. The numbers of identities and cameras are counted from the
# training set; the config saved in the work dir has them.
_base_ = [
    '../_base_/models/fusionreid_vitb_r50.py',
    '../_base_/datasets/custom_market.py',
    '../_base_/schedules/sgd_180e.py',
    '../_base_/default_runtime.py',
]
