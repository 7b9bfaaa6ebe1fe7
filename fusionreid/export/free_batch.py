"""Parts of other libraries that compute the batch size in floating point, which fixes it."""

from __future__ import annotations

from mmpretrain.models.backbones.mixmim import MixMIMBlock
from mmpretrain.models.utils.attention import ShiftWindowMSA
from torch import Tensor, nn


def free_batch_size(model: nn.Module) -> None:
    """Replace, in place, what lets no tracer keep the batch size free.

    Args:
        model: The model, a copy that is exported and not trained.
    """
    for module in model.modules():
        if isinstance(module, (ShiftWindowMSA, MixMIMBlock)):
            module.window_reverse = join_windows


def join_windows(windows: Tensor, height: int, width: int, window_size: int) -> Tensor:
    """Lay windows side by side, as ``window_reverse`` of Swin and MixMIM does.

    Args:
        windows: Windows of shape ``(B * n, window_size, window_size, C)``.
        height: Rows of the map.
        width: Its columns.
        window_size: Rows and columns of a window, which divide those of the map.

    Returns:
        Maps of shape ``(B, height, width, C)``.

    Example:
        >>> import torch
        >>> windows = torch.rand(12, 2, 2, 5)
        >>> theirs = ShiftWindowMSA.window_reverse(windows, 4, 6, 2)
        >>> torch.equal(join_windows(windows, 4, 6, 2), theirs)
        True
    """
    rows, columns = height // window_size, width // window_size
    grid = windows.view(-1, rows, columns, window_size, window_size, windows.shape[-1])
    return grid.transpose(2, 3).reshape(-1, height, width, windows.shape[-1])
