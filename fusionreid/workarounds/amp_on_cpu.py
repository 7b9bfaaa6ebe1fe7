"""MMEngine's mixed precision on a machine without an accelerator."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper


def init_without_loss_scaling(
    wrapper: AmpOptimWrapper, cast_dtype: torch.dtype, **kwargs: Any
) -> None:
    """Initialize a wrapper in place of its constructor, on any device.

    Reason: the constructor of ``AmpOptimWrapper`` refuses CPUs, in MMEngine 0.10.7 and
    onedl-mmengine 0.10.12. It ends with an MMEngine that takes them.

    Args:
        wrapper: The wrapper.
        cast_dtype: What is computed in.
        **kwargs: Arguments of MMEngine's OptimWrapper.
    """
    OptimWrapper.__init__(wrapper, **kwargs)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    wrapper.loss_scaler = torch.amp.GradScaler(device, enabled=False)
    wrapper._scale_update_param = None
    wrapper.cast_dtype = cast_dtype
