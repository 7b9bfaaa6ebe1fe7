from .check_invalid_loss_hook import CheckInvalidLossHook
from .checkpoint_checksum_hook import CheckpointChecksumHook
from .consistency_check_hook import ConsistencyCheckHook
from .distillation_hook import DistillationHook
from .epoch_length_hook import EpochLengthHook
from .epoch_seed_hook import EpochSeedHook
from .freeze_schedule_hook import FreezeScheduleHook
from .interrupt_hook import InterruptHook
from .rank_watch_hook import RankWatchHook
from .reid_visualization_hook import ReIDVisualizationHook
from .resumable_checkpoint_hook import ResumableCheckpointHook
from .resume_report_hook import ResumeReportHook
from .safe_checkpoint_hook import SafeCheckpointHook
from .strict_load_hook import StrictLoadHook
from .time_estimate_hook import TimeEstimateHook
from .weight_coverage_hook import WeightCoverageHook

__all__ = [
    'CheckInvalidLossHook',
    'CheckpointChecksumHook',
    'ConsistencyCheckHook',
    'DistillationHook',
    'EpochLengthHook',
    'EpochSeedHook',
    'FreezeScheduleHook',
    'InterruptHook',
    'RankWatchHook',
    'ReIDVisualizationHook',
    'ResumableCheckpointHook',
    'ResumeReportHook',
    'SafeCheckpointHook',
    'StrictLoadHook',
    'TimeEstimateHook',
    'WeightCoverageHook',
]
