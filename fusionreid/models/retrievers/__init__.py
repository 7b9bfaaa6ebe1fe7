from .branch import Branch
from .branch_order import keep_branch_order
from .distiller import FusionReIDDistiller
from .fusionreid import FusionReID
from .student_config import as_student, is_distiller
from .tracker_reid import TrackerReID

__all__ = [
    'Branch',
    'FusionReID',
    'FusionReIDDistiller',
    'TrackerReID',
    'as_student',
    'is_distiller',
    'keep_branch_order',
]
