"""A model as it only computes features: batch normalization is part of the convolutions."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode

from .retrievers import FusionReID

# Batch norms that do nothing else; what other classes add is not known.
PLAIN_NORMS = (_BatchNorm.forward, nn.SyncBatchNorm.forward)


def inference_form(model: FusionReID, image_size: tuple[int, int]) -> FusionReID:
    """Make a model that computes the same features faster, but cannot be trained.

    In the CNN backbones each batch normalization that follows a convolution becomes part of its
    weights. On a CPU these convolutions keep the channels of a pixel side by side (NHWC). Features
    differ by rounding. Where something follows a convolution is seen by encoding an empty image, so
    that neither names nor the order of layers count.

    Args:
        model: The model in evaluation mode. It stays as it is.
        image_size: Height and width of the images in pixels.

    Returns:
        Another model, which shares all weights but those of the folded convolutions. Its state dict
        has no batch normalization any more where one was folded: save the model itself instead.

    Raises:
        ValueError: If the model is in training mode.

    Example:
        >>> cnn = dict(
        ...     backbone=dict(type='fusionreid.ReIDResNet', depth=18),
        ...     pooling=dict(type='fusionreid.GeMPooling'),
        ... )
        >>> model = FusionReID(branches=dict(cnn=cnn)).eval()
        >>> faster = inference_form(model, (64, 32))
        >>> count = lambda model: sum(isinstance(each, nn.BatchNorm2d) for each in model.modules())
        >>> count(model), count(faster)
        (20, 0)
    """
    if model.training:
        raise ValueError('a model that is trained needs its batch norms: call eval() before')
    shared = {id(value): value for value in chain(model.parameters(), model.buffers())}
    folded = copy.deepcopy(model, shared)
    for branch in folded.branches.values():
        fold_batch_norms(branch.backbone, image_size)
    return folded


@torch.no_grad()
def fold_batch_norms(backbone: nn.Module, image_size: tuple[int, int]) -> None:
    """Make the batch norms of a backbone part of the convolutions before them, in place.

    Args:
        backbone: A backbone in evaluation mode.
        image_size: Height and width of the images in pixels.
    """
    norms = [each for each in backbone.modules() if _is_foldable_norm(each)]
    convolutions = [each for each in backbone.modules() if _is_foldable_convolution(each)]
    if not norms or not convolutions:
        return
    replaced: dict[nn.Module, nn.Module] = {}
    for convolution, norm in _find_pairs(backbone, convolutions, norms, image_size):
        # Folded in float64, so that the new weights are rounded once.
        wide, dtype = copy.deepcopy((convolution, norm)), convolution.weight.dtype
        fused = fuse_conv_bn_eval(*(each.double() for each in wide)).to(dtype)
        if fused.weight.device.type == 'cpu':
            fused = fused.to(memory_format=torch.channels_last)
        replaced |= {convolution: fused, norm: _rest_of(norm)}
    for parent in list(backbone.modules()):
        for name, child in parent.named_children():
            if child in replaced:
                setattr(parent, name, replaced[child])


def _is_foldable_convolution(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and type(module).forward is nn.Conv2d.forward
        and _has_no_additions(module)
    )


def _is_foldable_norm(module: nn.Module) -> bool:
    return (
        isinstance(module, _BatchNorm)
        and not module.training
        and module.running_mean is not None
        and (type(module).forward in PLAIN_NORMS or _has_activation(module))
        and _has_no_additions(module)
    )


def _has_no_additions(module: nn.Module) -> bool:
    """Whether nothing but ``forward`` makes the output: no hooks, no computed weights."""
    hooks = (module._forward_pre_hooks, module._forward_hooks)
    return not any(hooks) and not parametrize.is_parametrized(module)


def _has_activation(norm: nn.Module) -> bool:
    """Whether it is timm's batch norm, which activates too."""
    if not type(norm).__module__.startswith('timm.'):
        return False
    from timm.layers import BatchNormAct2d  # takes a second, and is loaded already

    return type(norm) is BatchNormAct2d


def _rest_of(norm: Any) -> nn.Module:
    """What a folded batch norm still has to do."""
    return nn.Sequential(norm.drop, norm.act) if _has_activation(norm) else nn.Identity()


class _CountUses(TorchFunctionMode):
    """Counts how often functions of torch take each of some tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: dict[int, Tensor] = {}
        self.uses: Counter[int] = Counter()

    def watch(self, tensor: Tensor) -> None:
        """Count the uses of a tensor from now on, and keep it, so that its id stays its own."""
        self.watched[id(tensor)] = tensor

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        # A question for the shape is no use.
        if any(True for _ in _tensors(result)):
            taken = {id(each) for each in _tensors((*args, *(kwargs or {}).values()))}
            self.uses.update(taken & self.watched.keys())
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in a value, also those in lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _find_pairs(
    backbone: nn.Module,
    convolutions: list[nn.Module],
    norms: list[nn.Module],
    image_size: tuple[int, int],
) -> list[tuple[Any, Any]]:
    """Convolutions whose output goes into a batch norm and nowhere else."""
    counter = _CountUses()
    calls: Counter[nn.Module] = Counter()
    makers: dict[int, nn.Module] = {}
    found: dict[nn.Module, int] = {}

    def note_output(convolution: nn.Module, _: Any, output: Tensor) -> None:
        calls[convolution] += 1
        makers[id(output)] = convolution
        counter.watch(output)

    def note_input(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls[norm] += 1
        # Now, since the id of an input that nobody keeps is given to another tensor later.
        if id(inputs[0]) in makers:
            found[norm] = id(inputs[0])

    handles = [each.register_forward_hook(note_output) for each in convolutions]
    handles += [each.register_forward_pre_hook(note_input) for each in norms]
    weight: Any = convolutions[0].weight
    try:
        with counter:
            outputs = backbone(torch.zeros(1, 3, *image_size).to(weight))
    finally:
        for handle in handles:
            handle.remove()
    counter.uses.update(id(each) for each in _tensors(outputs))
    return [
        (makers[output], norm)
        for norm, output in found.items()
        if counter.uses[output] == 1 and calls[norm] == calls[makers[output]] == 1
    ]
