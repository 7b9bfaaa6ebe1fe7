"""Learning rates that fall from the last layer of a backbone to its first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn

from fusionreid.errors import ConfigError
from fusionreid.registry import OPTIM_WRAPPER_CONSTRUCTORS

from .merged_param_groups import MergedParamGroups

# mmpretrain's backbones are asked for the depths of their parameters as parts of a classifier.
PREFIX = 'backbone.'


def layer_scales(model: nn.Module, rates: Mapping[str, float]) -> Iterator[tuple[Tensor, float]]:
    """Compute what the learning rate of each parameter of the backbones is multiplied by.

    The last layer of a backbone has the whole rate, the one before it the rate times ``r``, the one
    before that times ``r * r``, and so on to its stem, where ``r`` is the rate of its name. Neck
    and heads, which start from random weights, are not concerned.

    Args:
        model: A model with mmpretrain's backbones, which know the depth of each parameter.
        rates: Part of a backbone's name in the model, such as ``'transformer'``, to its rate in
            (0, 1]; the first that fits counts.

    Yields:
        Parameters of the backbones that are named, and their factors.

    Raises:
        ConfigError: If a name fits no backbone that knows its depths.
    """
    left = set(rates)
    for name, module in model.named_modules():
        key = next((key for key in rates if key in name or not key), None)
        if (
            key is None
            or not isinstance(module, BaseBackbone)
            or not hasattr(module, 'get_layer_depth')
        ):
            continue
        left.discard(key)
        for own_name, parameter in module.named_parameters():
            try:
                depth, depths = module.get_layer_depth(PREFIX + own_name, PREFIX)
            except NotImplementedError:  # mmpretrain's ResNet-18 and 34
                raise ConfigError(
                    f'layer_decay_rate: {name} ({type(module).__name__}) does not know the depths '
                    'of its layers: give layer_decay_rate as a dict that names other backbones only'
                ) from None
            yield parameter, rates[key] ** (depths - depth - 1)
    if left:
        raise ConfigError(
            f'layer_decay_rate: {", ".join(repr(key) for key in sorted(left))} is no backbone of '
            'the model that knows the depths of its layers, as ViT, Swin and ResNet-50 to 152 do'
        )


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayParamGroups(MergedParamGroups):
    """Groups by depth: a learning rate that decays layer by layer, times all other multiples.

    ``paramwise_cfg.layer_decay_rate`` is the factor from a layer to the one before it: a number for
    all backbones, or a dict of them by branch, such as ``dict(transformer=0.75, cnn=0.9)``. All
    other rules of ``paramwise_cfg`` hold as well. As in mmpretrain's
    ``LearningRateDecayOptimWrapperConstructor``, which takes models of one backbone alone.

    Args:
        optim_wrapper_cfg: Config of the optimizer wrapper, with ``optimizer``.
        paramwise_cfg: As in mmengine, with ``layer_decay_rate``.

    Raises:
        ConfigError: If there is no ``layer_decay_rate``, or no learning rate.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        rates = self.paramwise_cfg.get('layer_decay_rate')
        if rates is None or self.base_lr is None:
            raise ConfigError(
                'LayerDecayParamGroups needs optim_wrapper.paramwise_cfg.layer_decay_rate and '
                'optim_wrapper.optimizer.lr'
            )
        self.rates: dict[str, float] = dict(rates) if isinstance(rates, dict) else {'': rates}

    def finish_groups(self, groups: list[dict[str, Any]], model: nn.Module) -> None:
        """Multiply the learning rates by those of the layers.

        Args:
            groups: A group for each parameter; changed in place.
            model: The model.
        """
        scales = {id(parameter): scale for parameter, scale in layer_scales(model, self.rates)}
        for group in groups:
            (parameter,) = group['params']
            rate: float = group.get('lr', self.optimizer_cfg['lr'])
            group['lr'] = rate * scales.get(id(parameter), 1.0)
