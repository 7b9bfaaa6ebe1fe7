# Your own people, see docs/own_photos.md: a medium model on 256x128 images, which two CPU cores
# train overnight: 5,000 photos in 6 to 13 hours, computed from the time of a step. The counts are
# those of the training set, as in the other configs here.
_base_ = [
    '../_base_/models/fusionreid_deitt_r18.py',
    '../_base_/datasets/custom_csv_cpu.py',
    '../_base_/schedules/adamw_30e.py',
    '../_base_/default_runtime.py',
]

optim_wrapper = dict(optimizer=dict(lr=5e-4))
