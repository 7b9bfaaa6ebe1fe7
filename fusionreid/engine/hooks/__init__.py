from .consistency_check_hook import ConsistencyCheckHook
from .epoch_length_hook import EpochLengthHook
from .epoch_seed_hook import EpochSeedHook
from .finite_loss_hook import FiniteLossHook, NonFiniteLossError
from .load_share_hook import LoadShareHook
from .plain_checkpoint_hook import PlainCheckpointHook
from .resume_report_hook import ResumeReportHook
from .strict_load_hook import StrictLoadHook

__all__ = [
    'ConsistencyCheckHook',
    'EpochLengthHook',
    'EpochSeedHook',
    'FiniteLossHook',
    'LoadShareHook',
    'NonFiniteLossError',
    'PlainCheckpointHook',
    'ResumeReportHook',
    'StrictLoadHook',
]
