from .consistency_check_hook import ConsistencyCheckHook
from .epoch_length_hook import EpochLengthHook
from .epoch_seed_hook import EpochSeedHook
from .plain_checkpoint_hook import PlainCheckpointHook
from .strict_load_hook import StrictLoadHook

__all__ = [
    'ConsistencyCheckHook',
    'EpochLengthHook',
    'EpochSeedHook',
    'PlainCheckpointHook',
    'StrictLoadHook',
]
