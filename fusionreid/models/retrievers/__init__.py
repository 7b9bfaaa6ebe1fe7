from .branch import Branch
from .branch_order import keep_branch_order
from .fusionreid import FusionReID
from .tracker_reid import TrackerReID

__all__ = ['Branch', 'FusionReID', 'TrackerReID', 'keep_branch_order']
