"""One unit of an HTM for all branches, with a set of weights for each or one that all share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

SHARED = 'shared'


class BranchUnits(nn.ModuleDict):
    """The units of all branches, by branch, or one under ``'shared'``.

    Args:
        build: Makes a unit.
        branches: Names of the branches.
        shared: Whether all branches share one unit.

    Example:
        >>> units = BranchUnits(lambda: nn.Linear(2, 2), ['cnn', 'transformer'], shared=True)
        >>> list(units), units.of('cnn') is units.of('transformer')
        (['shared'], True)
    """

    def __init__(
        self, build: Callable[[], nn.Module], branches: Sequence[str], shared: bool
    ) -> None:
        super().__init__({owner: build() for owner in ([SHARED] if shared else branches)})

    def of(self, branch: str) -> Any:
        """Return the unit of a branch."""
        return self[SHARED if SHARED in self else branch]


class EncodingUnits(BranchUnits):
    """The SEUs of all branches; where they share one, it runs once for all of them.

    Args:
        build: Makes a :class:`~fusionreid.models.necks.SharedEncodingUnit`.
        branches: Names of the branches.
        shared: Whether all branches share one unit.
    """

    def __init__(
        self, build: Callable[[], nn.Module], branches: Sequence[str], shared: bool
    ) -> None:
        super().__init__(build, branches, shared)
        self.plain = False

    def forward(
        self, summaries: dict[str, Tensor], patches: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Encode each branch's summary token together with its patch tokens.

        Args:
            summaries: Per branch, the summary token of shape ``(B, 1, d)``.
            patches: Per branch, the patch tokens of shape ``(B, N_branch, d)``.

        Returns:
            Both encoded, in the same shapes.
        """
        encoded: dict[str, Tensor] = {}
        for group in self._groups(summaries):
            tokens, lengths = _join(group, summaries, patches)
            parts = self.of(group[0])(tokens, lengths).split(lengths, 1)
            encoded.update(zip(group, parts, strict=True))
        return (
            {name: tokens[:, :1] for name, tokens in encoded.items()},
            {name: tokens[:, 1:] for name, tokens in encoded.items()},
        )

    def summarize(
        self, summaries: dict[str, Tensor], patches: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Compute :meth:`forward` for the summary tokens alone.

        Args:
            summaries: As for :meth:`forward`.
            patches: As for :meth:`forward`.

        Returns:
            The encoded summary tokens.
        """
        if self.plain:
            return self(summaries, patches)[0]
        encoded: dict[str, Tensor] = {}
        for group in self._groups(summaries):
            tokens, lengths = _join(group, summaries, patches)
            parts = self.of(group[0]).summarize(tokens, lengths).split(1, 1)
            encoded.update(zip(group, parts, strict=True))
        return encoded

    def _groups(self, branches: dict[str, Tensor]) -> list[list[str]]:
        """Branches that go through a unit in one pass."""
        names = list(branches)
        return [names] if SHARED in self and not self.plain else [[name] for name in names]


def _join(
    names: list[str], summaries: dict[str, Tensor], patches: dict[str, Tensor]
) -> tuple[Tensor, list[int]]:
    """The sequences of some branches one after the other, and their lengths."""
    tokens = [part for name in names for part in (summaries[name], patches[name])]
    return torch.cat(tokens, 1), [1 + patches[name].shape[1] for name in names]
