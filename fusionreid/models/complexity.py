"""Parameters, multiply-adds and floating-point operations of a model and of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from .layers.side_information import SideInformationEmbedding
from .plain_computation import plain_computation

TOTAL = 'total'
# Convolutions and linear layers, as PyTorch dispatches them; all else that its counter knows are
# the matrix products of attention.
LAYER_OPERATIONS = ('convolution', '_convolution', 'mm', 'addmm')


@dataclass(frozen=True)
class Complexity:
    """Size and computation of a model or of a part of it, for one image.

    Args:
        params: Parameters of the layers, as the paper counts them: those of modules without
            children. That leaves out class tokens, position embeddings and camera embeddings; the
            classifiers, which testing does not need, are left out too.
        macs: Multiply-adds of convolutions and linear layers, as the paper counts them. What
            attention multiplies without weights (queries by keys, scores by values) is left out.
        flops: Floating-point operations, two per multiply-add, with attention.

    Operations are those of the layers as they are written down; the model itself computes the same
    with fewer, see :func:`fusionreid.models.plain_computation` and ``as_computed`` below.
    """

    params: int
    macs: int
    flops: int

    def __add__(self, other: Complexity) -> Complexity:
        return Complexity(
            self.params + other.params, self.macs + other.macs, self.flops + other.flops
        )


def measure_complexity(
    model: nn.Module, input_size: tuple[int, int], as_computed: bool = False
) -> dict[str, Complexity]:
    """Count the parameters, and by one forward pass the operations, of a model and of its parts.

    Args:
        model: The model, such as a FusionReID; on the meta device it is counted without computing.
            It is left in evaluation mode.
        input_size: Height and width of the image in pixels.
        as_computed: Whether the multiply-adds that the model does are counted, attention included,
            instead of those of the layers as they are written down. Defaults to False.

    Returns:
        Complexity of one image by part: each backbone under ``<branch> backbone``, then ``LRU``,
        ``HTM``, ``GeM`` and ``BNNecks`` where the model has them, ``other`` for what is in none of
        these, and last ``total``.

    Example:
        >>> from fusionreid.models import build_on_meta
        >>> vit = dict(backbone=dict(type='fusionreid.ReIDVisionTransformer', arch='deit-tiny'))
        >>> model = build_on_meta(dict(type='fusionreid.FusionReID', branches=dict(vit=vit)))
        >>> counts = measure_complexity(model, (256, 128))
        >>> list(counts)
        ['vit backbone', 'total']
        >>> counts['total']
        Complexity(params=5486400, macs=703660032, flops=1560683520)
    """
    device = next((weight.device for weight in model.parameters()), torch.device('cpu'))
    image = torch.zeros(1, 3, *input_size, device=device)
    model.eval()
    # Attention of other libraries in the implementation whose matrix products can be counted on
    # every device.
    counter = FlopCounterMode(display=False)
    form = nullcontext() if as_computed else plain_computation(model)
    with torch.no_grad(), form, sdpa_kernel(SDPBackend.MATH), counter:
        model(image, mode='tensor')
    # Operations by module; the name of the outermost is its class's.
    counts = {
        name.partition('.')[2]: operations
        for name, operations in counter.get_flop_counts().items()
        if name.startswith(type(model).__name__)
    }
    by_part: dict[str, Complexity] = {}
    for name, module in model.named_modules():
        part = part_of(name)
        if part is not None:
            operations = _operations(counts.get(name, {}), as_computed)
            found = Complexity(count_layer_parameters(module), *operations)
            by_part[part] = by_part.get(part, Complexity(0, 0, 0)) + found
    parts = sorted(by_part, key=lambda part: _ORDER.index(part) if part in _ORDER else -1)
    result = {part: by_part[part] for part in parts}
    total = Complexity(
        count_layer_parameters(model, without='classifier'),
        *_operations(counts.get('', {}), as_computed),
    )
    counted = sum(by_part.values(), Complexity(0, 0, 0))
    rest = Complexity(
        total.params - counted.params, total.macs - counted.macs, total.flops - counted.flops
    )
    if rest != Complexity(0, 0, 0):
        result['other'] = rest
    return {**result, TOTAL: total}


_ORDER = ('LRU', 'HTM', 'GeM', 'BNNecks')


def part_of(name: str) -> str | None:
    """Name the part that a module of :class:`fusionreid.models.FusionReID` is the root of.

    Args:
        name: Name of the module, e.g. ``branches.cnn.backbone``.

    Returns:
        The part, as in :func:`measure_complexity`; None for a module that is the root of none.

    Example:
        >>> part_of('branches.cnn.backbone'), part_of('neck.lru.cnn'), part_of('neck')
        ('cnn backbone', 'LRU', None)
    """
    match name.split('.'):
        case ['branches', branch, 'backbone']:
            return f'{branch} backbone'
        case ['branches', _, 'pooling'] | ['neck', 'pooling', _]:
            return 'GeM'
        case ['neck', 'lru', _]:
            return 'LRU'
        case ['neck', 'layers' | 'latents' | 'narrow' | 'widen', _] | ['neck', 'encoder']:
            return 'HTM'
        case ['heads', _, 'bnneck']:
            return 'BNNecks'
    return None


def count_layer_parameters(model: nn.Module, without: str = '') -> int:
    """Count the parameters of layers, i.e. of modules without children; see :class:`Complexity`.

    Args:
        model: The module.
        without: Last part of the names of layers that do not count. Defaults to none.

    Returns:
        Number of parameters.
    """
    return sum(
        weight.numel()
        for name, module in model.named_modules()
        if next(module.children(), None) is None
        and not isinstance(module, SideInformationEmbedding)
        and not (without and name.split('.')[-1] == without)
        for weight in module.parameters()
    )


def _operations(counts: Mapping[Any, int], with_attention: bool) -> tuple[int, int]:
    """Multiply-adds, of layers alone or of everything; floating-point operations of everything."""
    counted = sum(
        flops
        for operation, flops in counts.items()
        if with_attention or operation.__name__ in LAYER_OPERATIONS
    )
    return counted // 2, sum(counts.values())
