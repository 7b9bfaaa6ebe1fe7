# The published recipe: SGD for 180 epochs in mixed precision, linear warm-up and a cosine, one rate
# per epoch.

optim_wrapper = dict(
    type='ReIDAmpOptimWrapper',
    dtype='float16',
    # Parameters of equal learning rate and weight decay together, updated by one fused kernel.
    constructor='MergedParamGroups',
    optimizer=dict(type='SGD', lr=0.005, momentum=0.9, weight_decay=1e-4),
    # Every parameter whose name contains `bias` has twice the base rate. Its warm-up starts and its
    # cosine ends at the same rate as that of the others, see WarmupCosineLR.
    paramwise_cfg=dict(custom_keys=dict(bias=dict(lr_mult=2.0))),
)
param_scheduler = dict(type='WarmupCosineLR', warmup_epochs=10)

# The learning rate above is for a total batch of this many images (--auto-scale-lr).
auto_scale_lr = dict(base_batch_size=128)

train_cfg = dict(by_epoch=True, max_epochs=180, val_interval=10)
val_cfg = dict()
test_cfg = dict()
