# The backbones wait until neck and heads have found their way, and the average of the weights is
# scored and saved.
_base_ = './default_runtime.py'

custom_hooks = _base_.custom_hooks + [
    dict(
        type='FreezeScheduleHook',
        frozen_epochs={'branches.cnn.backbone': 5, 'branches.transformer.backbone': 5},
    ),
    dict(type='EMAHook', momentum=2e-4, update_buffers=True),
]
# Of several processes: frozen parts get no gradient.
find_unused_parameters = True
