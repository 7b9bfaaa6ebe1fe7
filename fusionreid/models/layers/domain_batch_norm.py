"""Batch norm with statistics of its own for each data set (domain-specific batch norm)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SET_ID = 'set_id'


class DomainBatchNorm(nn.BatchNorm2d):
    """Normalize the images of each data set by their own statistics while training.

    Scale and shift are shared by all sets. From "Domain-Specific Batch Normalization" (arXiv
    1906.03950), with the shared affine part that is usual where the scored data set is none of
    them. The statistics of all sets together are kept as those of a plain batch norm, whose
    checkpoints can be loaded; every set begins with them.

    Args:
        channels: Channels C.
        names: Names of the sets.
        scored_as: The set whose statistics are used when not training; None (default) for those
            of all sets together, each with the same weight.

    Example:
        >>> norm = DomainBatchNorm(2, ('street', 'mall'))
        >>> norm.sets = torch.tensor([0, 0, 1, 1])
        >>> maps = torch.rand(4, 2, 8, 8) + torch.tensor([0.0, 0.0, 9.0, 9.0])[:, None, None, None]
        >>> norm(maps).mean((0, 2, 3)).abs().max() < 1e-4, norm(maps)[:2].mean().abs() < 1e-4
        (tensor(True), tensor(True))
    """

    set_means: Tensor
    set_vars: Tensor

    def __init__(self, channels: int, names: Sequence[str], scored_as: str | None = None) -> None:
        super().__init__(channels)
        self.names = tuple(names)
        self.scored_as = None if scored_as is None else self.names.index(scored_as)
        self.register_buffer('set_means', torch.zeros(len(names), channels))
        self.register_buffer('set_vars', torch.ones(len(names), channels))
        # Of the images that come next: the number of their set, of shape (B,), on the CPU.
        self.sets: Tensor | None = None

    @torch.compiler.disable
    def forward(self, maps: Tensor) -> Tensor:
        """Normalize feature maps.

        Args:
            maps: Feature maps of shape ``(B, C, H, W)``.

        Returns:
            Normalized maps of the same shape.

        Raises:
            ValueError: If the sets of the images are not known while training.
        """
        if not self.training:
            mean, var = self.running_mean, self.running_var
            if self.scored_as is not None:
                mean, var = self.set_means[self.scored_as], self.set_vars[self.scored_as]
            return F.batch_norm(maps, mean, var, self.weight, self.bias, eps=self.eps)
        if self.sets is None or len(self.sets) != len(maps):
            raise ValueError('batch norms of several data sets need to know the set of each image')
        found = self.sets.unique().tolist()
        if len(found) == 1:
            normalized = self._normalize(maps, found[0])
        else:
            rows = [(self.sets == each).nonzero()[:, 0].to(maps.device) for each in found]
            parts = [
                self._normalize(maps[own], each) for own, each in zip(rows, found, strict=True)
            ]
            normalized = torch.cat(parts)[torch.cat(rows).argsort()]
        assert self.running_mean is not None
        assert self.running_var is not None
        with torch.no_grad():
            # Of a mixture of the sets.
            self.running_mean.copy_(self.set_means.mean(0))
            spread = self.set_means.var(0, correction=0)
            self.running_var.copy_(self.set_vars.mean(0) + spread)
        return normalized

    def _normalize(self, maps: Tensor, number: int) -> Tensor:
        return F.batch_norm(
            maps,
            self.set_means[number],
            self.set_vars[number],
            self.weight,
            self.bias,
            training=True,
            momentum=self.momentum or 0.0,
            eps=self.eps,
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for own, plain in (('set_means', 'running_mean'), ('set_vars', 'running_var')):
            if f'{prefix}{own}' not in state_dict and f'{prefix}{plain}' in state_dict:
                value = state_dict[f'{prefix}{plain}']
                state_dict[f'{prefix}{own}'] = value.expand(len(self.names), -1)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def use_domain_batch_norms(
    module: nn.Module, names: Sequence[str], scored_as: str | None = None
) -> None:
    """Put a :class:`DomainBatchNorm` in the place of every 2D batch norm, in place.

    Args:
        module: The module, without weights of worth.
        names: Names of the sets.
        scored_as: The set whose statistics are used when not training; None for all of them.

    Raises:
        ValueError: If two sets have one name, or ``scored_as`` is none of them.
    """
    if len(set(names)) != len(names):
        raise ValueError(f'domain_norm must name each data set once, got {list(names)}')
    if scored_as is not None and scored_as not in names:
        raise ValueError(f'scored_as must be one of {list(names)} or None, got {scored_as!r}')
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, DomainBatchNorm(child.num_features, names, scored_as))


def tell_sets(module: nn.Module, data_samples: Sequence[Mapping[str, Any]] | None) -> None:
    """Tell all batch norms of several data sets which images come next.

    Args:
        module: The model; one without such norms needs nothing.
        data_samples: Data samples, with ``set_id`` where a ``JointDataset`` gives them.

    Raises:
        ValueError: If there are such norms, and an image's set is unknown or none of theirs.
    """
    norms = [each for each in module.modules() if isinstance(each, DomainBatchNorm)]
    if not norms:
        return
    sets = torch.tensor([sample.get(SET_ID, -1) for sample in data_samples or ()])
    for norm in norms:
        if not len(sets) or sets.min() < 0 or sets.max() >= len(norm.names):
            raise ValueError(
                f'domain_norm is for a JointDataset of the sets {", ".join(norm.names)}, got '
                f'images of the sets {sets.unique().tolist()}: join as many, or leave out '
                'domain_norm'
            )
        norm.sets = sets
