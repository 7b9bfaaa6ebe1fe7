"""Any loss of pytorch-metric-learning, with its miners and distances."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from .pair_loss_base import PairLoss

_LIBRARY = 'pytorch_metric_learning'


class MetricLoss(PairLoss):
    """A loss of pytorch-metric-learning, by its name there.

    Distance, reducer and miner are objects that a loss is given; here they are named like the loss.
    What wraps another loss (``CrossBatchMemory``, ...) or has no labels (``VICRegLoss``, ...) is
    left out.

    Args:
        loss: Name of the loss, such as ``'MultiSimilarityLoss'``.
        loss_args: Its arguments: numbers, texts and truth values.
        miner: Name of the miner, such as ``'BatchHardMiner'``. None for all pairs of the batch.
        miner_args: Its arguments.
        distance: Name of the distance of loss and miner, such as ``'LpDistance'``. None for theirs.
        distance_args: Its arguments.
        reducer: Name of the reducer, such as ``'MeanReducer'``. None for the loss's own.
        reducer_args: Its arguments.
        loss_weight: Factor of the loss. Defaults to 1.
        mining: ``'local'`` (default) or ``'global'``, as of
            :class:`~fusionreid.models.losses.BatchHardTripletLoss`.
        num_classes: Identities in the training set, for losses that learn proxies.
        in_channels: Width D of the feature, for the same.

    Raises:
        ValueError: If the library is not installed, a name is not of it, or arguments are not
            taken.

    Example:
        >>> loss = MetricLoss('TripletMarginLoss', dict(margin=0.3), miner='BatchHardMiner')
        >>> loss(torch.eye(4), torch.tensor([0, 0, 1, 1])).shape
        torch.Size([])
    """

    def __init__(
        self,
        loss: str,
        loss_args: Mapping[str, Any] | None = None,
        miner: str | None = None,
        miner_args: Mapping[str, Any] | None = None,
        distance: str | None = None,
        distance_args: Mapping[str, Any] | None = None,
        reducer: str | None = None,
        reducer_args: Mapping[str, Any] | None = None,
        loss_weight: float = 1.0,
        mining: str = 'local',
        num_classes: int | None = None,
        in_channels: int | None = None,
    ) -> None:
        super().__init__(loss_weight, mining)
        parts = {}
        if distance is not None:
            parts['distance'] = _build('distances', distance, distance_args)
        shared = dict(parts)
        if reducer is not None:
            parts['reducer'] = _build('reducers', reducer, reducer_args)
        widths = dict(num_classes=num_classes, embedding_size=in_channels)
        widths['descriptors_dim'] = in_channels  # what P2SGradLoss calls it
        self.loss = _build('losses', loss, loss_args, **parts, **widths)
        self.miner = None if miner is None else _build('miners', miner, miner_args, **shared)

    @torch.compiler.disable
    def compare(self, features: Tensor, ids: Tensor) -> Tensor:
        """Compute the unweighted loss; see :meth:`PairLoss.compare`."""
        pairs = None if self.miner is None else self.miner(features, ids)
        return self.loss(features, ids, pairs)


# Where the library has them, the class that they are of, and what it calls one.
_BASES = dict(
    losses='BaseMetricLossFunction',
    miners='BaseMiner',
    distances='BaseDistance',
    reducers='BaseReducer',
)

# Bases, and what does not compare images of the same label with others.
_OTHER_USE = {
    'EmbeddingsAlreadyPackagedAsTriplets',
    'GenericPairLoss',
    'ManifoldLoss',
    'VICRegLoss',
}


def _build(kind: str, name: str, args: Mapping[str, Any] | None, **known: Any) -> nn.Module:
    """Build a part of the library, with those of the known arguments that it takes."""
    try:
        module: Any = import_module(f'{_LIBRARY}.{kind}')
    except ImportError as error:
        raise ValueError(
            f'MetricLoss needs {_LIBRARY}, which cannot be imported ({error}): '
            'pip install pytorch-metric-learning'
        ) from error
    base = getattr(module, _BASES[kind])
    # By name from its module, and never by import: the name may come from a file.
    names = sorted(
        key
        for key, each in vars(module).items()
        if inspect.isclass(each) and issubclass(each, base) and each is not base and _plain(each)
    )
    if name not in names:
        raise ValueError(
            f'MetricLoss has no {name!r} among the {kind} of pytorch-metric-learning: '
            f'give one of {", ".join(names)}'
        )
    part = getattr(module, name)
    taken = _parameters(part)
    given = {key: value for key, value in known.items() if key in taken and value is not None}
    try:
        built: nn.Module = part(**{**given, **(args or {})})
    except (TypeError, ValueError, AssertionError) as error:
        reason = f'MetricLoss cannot build {name} with {dict(args or {})}: {error}'
        raise ValueError(reason) from error
    return built


def _parameters(part: type) -> set[str]:
    """The arguments that a class takes, with those that it passes on."""
    return {
        name
        for each in part.__mro__
        if '__init__' in vars(each) and each not in (nn.Module, object)
        for name in inspect.signature(each).parameters
    }


def _plain(part: type) -> bool:
    """Whether a part is made of plain values and compares the rows of a batch by their labels."""
    made_of = {'loss', 'losses', 'miner', 'miners', 'reducers'}
    return not _parameters(part) & made_of and part.__name__ not in _OTHER_USE
