from .branch import Branch
from .fusionreid import FusionReID

__all__ = ['Branch', 'FusionReID']
