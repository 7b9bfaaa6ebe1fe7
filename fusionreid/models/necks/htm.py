"""Heterogenous Transmission Module (HTM): order and sharing of its units, SEU and MFU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from fusionreid.registry import MODELS

from ..layers.attention import init_transformer_weights
from .mfu import MutualFusionUnit
from .seu import SharedEncodingUnit

UNITS: dict[str, type[nn.Module]] = {'seu': SharedEncodingUnit, 'mfu': MutualFusionUnit}
SHARED = 'shared'


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
        self.plain = False
        self.units = tuple(units)
        for unit in units:
            owners = [SHARED] if unit in shared else branches
            weights = {owner: UNITS[unit](embed_dims, num_heads, mlp_ratio) for owner in owners}
            self.add_module(unit, nn.ModuleDict(weights))
        self.apply(init_transformer_weights)

    def _unit(self, name: str, branch: str) -> nn.Module:
        owners = getattr(self, name)
        return owners[SHARED if SHARED in owners else branch]

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
                    name: self._unit(unit, name)(summary, self._others(patches, name))
                    for name, summary in summaries.items()
                }
            elif unit == self.units[-1] and not self.plain:
                # Nobody reads the patch tokens that a last SEU would encode.
                summaries = self._encode(summaries, patches, summaries_only=True)
            else:
                encoded = self._encode(summaries, patches)
                summaries = {name: tokens[:, :1] for name, tokens in encoded.items()}
                patches = {name: tokens[:, 1:] for name, tokens in encoded.items()}
        return summaries

    def _encode(
        self,
        summaries: dict[str, Tensor],
        patches: dict[str, Tensor],
        summaries_only: bool = False,
    ) -> dict[str, Tensor]:
        """Run the SEU, once for all branches that share it."""
        names = list(summaries)
        together = [names] if SHARED in self.seu and not self.plain else [[name] for name in names]
        encoded: dict[str, Tensor] = {}
        for group in together:
            unit: Any = self._unit('seu', group[0])  # a SharedEncodingUnit
            lengths = [1 + patches[name].shape[1] for name in group]
            tokens = torch.cat(
                [part for name in group for part in (summaries[name], patches[name])], 1
            )
            if summaries_only:
                parts = unit.summarize(tokens, lengths).split(1, 1)
            else:
                parts = unit(tokens, lengths).split(lengths, 1)
            encoded.update(zip(group, parts, strict=True))
        return encoded

    @staticmethod
    def _others(patches: dict[str, Tensor], name: str) -> Tensor:
        others = [tokens for other, tokens in patches.items() if other != name]
        return others[0] if len(others) == 1 else torch.cat(others, 1)
