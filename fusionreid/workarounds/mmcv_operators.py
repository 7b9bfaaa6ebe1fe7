"""mmcv-lite warns at every start that it lacks an operator that nothing here uses."""

from __future__ import annotations

import warnings


def ignore_missing_operator() -> None:
    """Leave out the warning; call it before anything imports MMCV.

    Reason: mmcv-lite 2.2 and onedl-mmcv 2.3 import ``MultiScaleDeformableAttention``, for which
    they have no compiled code, and warn of it. It ends with an MMCV that does not.
    """
    warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``')
