# No learning at all: striped color histograms, the floor that every model has to beat.
_base_ = ['../_base_/datasets/synthetic.py', '../_base_/default_runtime.py']

model = dict(
    type='FusionReID',
    data_preprocessor=dict(type='ReIDDataPreprocessor'),
    branches=dict(color=dict(backbone=dict(type='ColorHistogram'))),
)
test_cfg = dict()
val_cfg = val_dataloader = val_evaluator = None
train_dataloader = None
