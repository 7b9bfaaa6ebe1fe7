# For branches that know people already: AdamW for 120 epochs, and the nearer a layer is to the
# image, the lower its learning rate.
optim_wrapper = dict(
    type='ReIDAmpOptimWrapper',
    dtype='float16',
    constructor='LayerDecayParamGroups',
    optimizer=dict(type='AdamW', lr=3e-4, weight_decay=0.05),
    paramwise_cfg=dict(
        layer_decay_rate=dict(transformer=0.75, cnn=0.9),
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys=dict(
            cls_token=dict(decay_mult=0.0), pos_embed=dict(decay_mult=0.0), sie=dict(decay_mult=0.0)
        ),
    ),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = dict(type='WarmupCosineLR', warmup_epochs=10)

# The learning rate above is for a total batch of this many images (--auto-scale-lr).
auto_scale_lr = dict(base_batch_size=128)

train_cfg = dict(by_epoch=True, max_epochs=120, val_interval=10)
val_cfg = dict()
test_cfg = dict()
