"""Stochastic depth of mmpretrain's transformers under ``torch.compile``."""

from __future__ import annotations

from mmcv.cnn.bricks import DropPath
from torch import nn


def use_plain_drop_rates(module: nn.Module) -> None:
    """Make the rates of all drop paths of a module Python numbers.

    Reason: mmpretrain 1.2.0 and onedl-mmpretrain 1.3.6 pass NumPy scalars, at which
    ``torch.compile`` breaks its graph. It ends with an mmpretrain that passes numbers.

    Args:
        module: The module, which is changed.
    """
    for part in module.modules():
        if isinstance(part, DropPath):
            part.drop_prob = float(part.drop_prob)
