"""What one token attends to, laid back on the grids of the patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Grid = tuple[int, int]


@dataclass(frozen=True)
class AttentionMap:
    """Attention weights of one token, per image and head.

    The maps of all branches and ``own`` sum to one: nothing is cut off or rescaled.

    Attributes:
        unit: ``'class_token'``, ``'rollout'``, ``'seu'`` or ``'mfu'``.
        layer: 0-based layer: block of the transformer, or HTM of the neck.
        branch: Branch whose class or summary token attends.
        maps: Weights on the patches that it attends to, by the branch that these belong to, each of
            shape ``(B, heads, H', W')``.
        own: Weight on the tokens that lie on no grid, of shape ``(B, heads)``: on the token itself,
            and on register and distillation tokens. 0 in an MFU, which reads patches only.

    Example:
        >>> attention = lay_on_grids(torch.rand(2, 3, 9).softmax(-1), dict(cnn=(4, 2)))
        >>> attention['cnn'].shape
        torch.Size([2, 3, 4, 2])
        >>> seu = AttentionMap('seu', 0, 'cnn', attention, own=torch.zeros(2, 3))
        >>> seu.average_heads().maps['cnn'].shape
        torch.Size([2, 1, 4, 2])
    """

    unit: str
    layer: int
    branch: str
    maps: dict[str, Tensor]
    own: Tensor

    @classmethod
    def from_weights(
        cls, unit: str, layer: int, branch: str, weights: Tensor, grids: Mapping[str, Grid]
    ) -> AttentionMap:
        """Lay weights on grids.

        Args:
            unit: As the attribute.
            layer: As the attribute.
            branch: As the attribute.
            weights: Weights of shape ``(B, heads, extra + N)``; those of the patches come last.
            grids: Grid (rows, columns) of each branch whose patches are attended to, in the order
                of the weights.

        Returns:
            The maps, in float32 or, for a model in float64, in float64.
        """
        weights = weights.detach().to(torch.promote_types(weights.dtype, torch.float32))
        num_extra = weights.shape[-1] - sum(rows * columns for rows, columns in grids.values())
        own = weights[..., :num_extra].sum(-1)
        return cls(unit, layer, branch, lay_on_grids(weights, grids), own)

    def average_heads(self) -> AttentionMap:
        """Average over the heads.

        Returns:
            Maps of shape ``(B, 1, H', W')``, and ``own`` of shape ``(B, 1)``.
        """
        maps = {name: map_.mean(1, keepdim=True) for name, map_ in self.maps.items()}
        return replace(self, maps=maps, own=self.own.mean(1, keepdim=True))


def lay_on_grids(weights: Tensor, grids: Mapping[str, Grid]) -> dict[str, Tensor]:
    """Cut the weights of the patches of several branches apart and give them their grids.

    Args:
        weights: Weights of shape ``(..., extra + N)``; those of the patches come last.
        grids: Grid (rows, columns) by branch, in the order of the weights.

    Returns:
        Maps of shape ``(..., rows, columns)`` by branch.
    """
    sizes = [rows * columns for rows, columns in grids.values()]
    parts = weights[..., weights.shape[-1] - sum(sizes) :].split(sizes, -1)
    return {
        name: part.unflatten(-1, grid)
        for (name, grid), part in zip(grids.items(), parts, strict=True)
    }
