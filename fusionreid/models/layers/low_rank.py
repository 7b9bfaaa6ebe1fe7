"""A linear layer as the product of two narrow ones."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class LowRankLinear(nn.Sequential):
    """Linear layer whose weight has a low rank r: a projection to r numbers, and one from there.

    ``r (in + out)`` multiply-adds per token instead of ``in * out`` (Sainath et al., "Low-rank
    Matrix Factorization for Deep Neural Network Training with High-dimensional Output Targets",
    ICASSP 2013).

    Args:
        in_dims: Width of the input.
        out_dims: Width of the output.
        rank: The rank r.
        bias: Whether a bias is added to the output. Defaults to True.

    Example:
        >>> import torch
        >>> layer = LowRankLinear(12, 24, rank=3)
        >>> layer(torch.rand(2, 5, 12)).shape, [tuple(each.weight.shape) for each in layer]
        (torch.Size([2, 5, 24]), [(3, 12), (24, 3)])
    """

    def __init__(self, in_dims: int, out_dims: int, rank: int, bias: bool = True) -> None:
        super().__init__(nn.Linear(in_dims, rank, bias=False), nn.Linear(rank, out_dims, bias=bias))
        self.rank = rank


def projection(in_dims: int, out_dims: int, rank: int | None, bias: bool = True) -> nn.Module:
    """Build a linear layer.

    Args:
        in_dims: Width of the input.
        out_dims: Width of the output.
        rank: Rank of its weight; None for a full one.
        bias: Whether it has a bias. Defaults to True.

    Returns:
        An ``nn.Linear``, or a :class:`LowRankLinear`.
    """
    if rank is None:
        return nn.Linear(in_dims, out_dims, bias=bias)
    return LowRankLinear(in_dims, out_dims, rank, bias)


def weight_factors(layer: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Take the weight of a layer from :func:`projection` apart.

    Args:
        layer: The layer.

    Returns:
        Its weight of shape ``(out, in)`` and None; of a low-rank layer the second factor of shape
        ``(out, r)`` and the first one, ``(r, in)``.
    """
    linear: Any = layer
    if isinstance(layer, LowRankLinear):
        return linear[1].weight, linear[0].weight
    return linear.weight, None
