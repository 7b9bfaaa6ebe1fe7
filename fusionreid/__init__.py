"""FusionReID: person re-identification by unified convolutional and transformer features."""

import warnings

# mmcv-lite says at every start that it lacks an operator which nothing here uses.
warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``')

from fusionreid import registry  # noqa: E402
from fusionreid.version import __version__  # noqa: E402

__all__ = ['__version__', 'registry']
