from .branch import Branch
from .fusionreid import FusionReID
from .tracker_reid import TrackerReID

__all__ = ['Branch', 'FusionReID', 'TrackerReID']
