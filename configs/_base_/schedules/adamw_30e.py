# For small models on a CPU: AdamW for 30 epochs in full precision; the learning rate is for
# batches of 32 images.
optim_wrapper = dict(
    constructor='MergedParamGroups',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
)
auto_scale_lr = dict(base_batch_size=32)
param_scheduler = dict(type='WarmupCosineLR', warmup_epochs=2, final_factor=0.01)
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=5)
val_cfg = dict()
test_cfg = dict()
