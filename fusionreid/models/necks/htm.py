"""Heterogenous Transmission Module (HTM): order and sharing of its units, SEU and MFU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from mmengine.model import BaseModule
from torch import Tensor

from fusionreid.registry import MODELS

from ..layers.attention import init_transformer_weights
from .branch_units import BranchUnits, EncodingUnits
from .mfu import MutualFusionUnit
from .seu import SharedEncodingUnit

UNITS = ('seu', 'mfu')


@MODELS.register_module()
class HeterogenousTransmissionModule(BaseModule):
    """Heterogenous Transmission Module (HTM): one layer of the exchange between branches.

    Each branch gives a summary token and its patch tokens. An SEU lets every branch's tokens mix
    among themselves; an MFU lets each summary token read the patch tokens of the other branches
    (arXiv 2412.17239, section on the HTM). With more than two branches, a summary token reads the
    tokens of all others, joined into one sequence.

    Args:
        branches: Names of the branches, at least two.
        embed_dims: Token width d.
        num_heads: Attention heads; they divide d.
        mlp_ratio: Hidden width of the MLPs over d.
        units: The units in their order: ``('seu', 'mfu')`` as published, ``('seu',)``, ``('mfu',)``
            or ``('mfu', 'seu')``.
        shared: Which of the units have one set of weights for all branches; the published model
            shares the SEU.
        patch_mlp: Whether the SEU's MLP changes patch tokens too. Defaults to True; False leaves it
            to the summary tokens, on which the others depend through the attention alone.
        rank: Rank of all linear layers; None (default) for full ones.

    Raises:
        ValueError: If units, sharing, branches or widths do not fit together.

    Example:
        >>> htm = HeterogenousTransmissionModule(['cnn', 'transformer'], embed_dims=12, num_heads=3)
        >>> summaries = dict(cnn=torch.rand(2, 1, 12), transformer=torch.rand(2, 1, 12))
        >>> patches = dict(cnn=torch.rand(2, 8, 12), transformer=torch.rand(2, 15, 12))
        >>> {name: tuple(token.shape) for name, token in htm(summaries, patches).items()}
        {'cnn': (2, 1, 12), 'transformer': (2, 1, 12)}
        >>> list(htm.seu), list(htm.mfu)  # whose weights each unit has
        (['shared'], ['cnn', 'transformer'])
    """

    def __init__(
        self,
        branches: Sequence[str],
        embed_dims: int,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        units: Sequence[str] = ('seu', 'mfu'),
        shared: Sequence[str] = ('seu',),
        patch_mlp: bool = True,
        rank: int | None = None,
    ) -> None:
        super().__init__()
        if len(branches) < 2:
            raise ValueError(f'HTM exchanges between at least two branches, got {list(branches)}')
        if not units or len(set(units)) != len(units) or not set(units) <= set(UNITS):
            raise ValueError(
                f"units must be an order of 'seu' and 'mfu' without repeats, got {tuple(units)}"
            )
        if not set(shared) <= set(UNITS):
            raise ValueError(f"shared may name 'seu' and 'mfu', got {tuple(shared)}")
        if embed_dims < 1 or num_heads < 1:
            raise ValueError(
                f'embed_dims and num_heads must be at least 1, got {embed_dims} and {num_heads}'
            )
        if embed_dims % num_heads:
            raise ValueError(f'embed_dims={embed_dims} is not divisible by num_heads={num_heads}')
        self.units = tuple(units)
        sizes = (embed_dims, num_heads, mlp_ratio, rank)
        for unit in units:
            if unit == 'seu':
                build = partial(SharedEncodingUnit, *sizes, patch_mlp)
                self.seu = EncodingUnits(build, branches, unit in shared)
            else:
                self.mfu = BranchUnits(partial(MutualFusionUnit, *sizes), branches, unit in shared)
        self.apply(init_transformer_weights)

    def forward(
        self, summaries: dict[str, Tensor], patches: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Run the units in order.

        Args:
            summaries: Per branch, the summary token of shape ``(B, 1, d)``.
            patches: Per branch, the refined patch tokens of shape ``(B, N_branch, d)``.

        Returns:
            Per branch, the new summary token of shape ``(B, 1, d)``. Patch tokens are not carried
            on.
        """
        for unit in self.units:
            if unit == 'mfu':
                summaries = {
                    name: self.mfu.of(name)(summary, self._others(patches, name))
                    for name, summary in summaries.items()
                }
            elif unit == self.units[-1]:
                # Nobody reads the patch tokens that a last SEU would encode.
                summaries = self.seu.summarize(summaries, patches)
            else:
                summaries, patches = self.seu(summaries, patches)
        return summaries

    @staticmethod
    def _others(patches: dict[str, Tensor], name: str) -> Tensor:
        others = [tokens for other, tokens in patches.items() if other != name]
        return others[0] if len(others) == 1 else torch.cat(others, 1)
