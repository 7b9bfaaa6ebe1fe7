default_scope = 'fusionreid'
custom_imports = dict(imports=['fusionreid.checkpoints'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='ResumableCheckpointHook',
        interval=10,
        # Two, since mmengine deletes the oldest before it writes the newest.
        max_keep_ckpts=2,
        save_best='reid/mAP',
        rule='greater',
        # A checkpoint appears whole or not at all.
        backend_args=dict(backend='atomic_local'),
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
custom_hooks = [
    dict(type='ConsistencyCheckHook'),
    dict(type='EpochSeedHook'),
    dict(type='EpochLengthHook'),
    dict(type='TimeEstimateHook'),
    dict(type='SafeCheckpointHook'),
    dict(type='CheckInvalidLossHook'),
    dict(type='ResumeReportHook'),
    dict(type='InterruptHook'),
    # Running statistics of all processes, for scoring and for what is saved.
    dict(type='SyncBuffersHook'),
    # Last, since the others may still change what is saved.
    dict(type='CheckpointChecksumHook'),
]

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
visualizer = dict(
    type='Visualizer',
    vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
)
log_processor = dict(type='HeadlineLogProcessor')
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=1111)
