"""Building a model on the meta device: its names and shapes without its memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fusionreid.registry import MODELS


class _ComputeSchedules(TorchFunctionMode):
    """Keeps on the CPU what constructors compute with, while their weights are on ``meta``.

    Backbones read their drop path rates from a short tensor.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs.setdefault('device', 'cpu')
        return func(*args, **kwargs)


def build_on_meta(model: dict[str, Any]) -> nn.Module:
    """Build a model on the meta device: names and shapes, no memory, in a fraction of a second.

    Args:
        model: Config of the model.

    Returns:
        The model, its parameters and buffers on the meta device. It can be counted and run for
        shapes.

    Example:
        >>> model = build_on_meta(dict(type='fusionreid.ReIDVisionTransformer', arch='large'))
        >>> model.pos_embed.shape, model.pos_embed.device
        (torch.Size([1, 129, 1024]), device(type='meta'))
    """
    with torch.device('meta'), _ComputeSchedules():
        built = MODELS.build(model)
    return built.to('meta')  # what came from NumPy is not there yet
