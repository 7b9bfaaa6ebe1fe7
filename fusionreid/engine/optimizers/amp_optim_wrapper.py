"""Mixed precision: which types, and how it runs on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from fusionreid.registry import OPTIM_WRAPPERS
from fusionreid.workarounds.amp_on_cpu import init_without_loss_scaling

DTYPES = ('float16', 'bfloat16')


@OPTIM_WRAPPERS.register_module()
class ReIDAmpOptimWrapper(AmpOptimWrapper):
    """mmengine's mixed precision, on CPU too.

    Args:
        dtype: ``'float16'`` (loss scaling included) or ``'bfloat16'`` (which needs none). A CPU
            computes bfloat16 in either case, since float16 is not made for training there. Defaults
            to ``'float16'``.
        loss_scale: As in mmengine; used for float16 on a GPU. Defaults to ``'dynamic'``.
        **kwargs: Arguments of mmengine's OptimWrapper.

    Raises:
        ValueError: If the type is neither.

    Example:
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        >>> ReIDAmpOptimWrapper(dtype='bfloat16', optimizer=optimizer).cast_dtype
        torch.bfloat16
    """

    def __init__(
        self,
        dtype: str = 'float16',
        loss_scale: str | float | dict[str, Any] = 'dynamic',
        **kwargs: Any,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f'dtype must be one of {DTYPES}, got {dtype!r}')
        if torch.cuda.is_available() and dtype == 'float16':
            super().__init__(loss_scale=loss_scale, dtype=dtype, **kwargs)
            return
        init_without_loss_scaling(self, torch.bfloat16, **kwargs)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; one that was saved without loss scaling leaves the scaler as it is.

        Args:
            state_dict: State of an optimizer wrapper, of this class or of another.
        """
        state_dict = dict(state_dict)
        scaler = state_dict.pop('loss_scaler', None)
        if scaler and self.loss_scaler.is_enabled():
            self.loss_scaler.load_state_dict(scaler)
        OptimWrapper.load_state_dict(self, state_dict)
