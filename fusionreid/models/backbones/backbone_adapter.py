"""Any network of mmpretrain or timm as a backbone: how it is built and how its output is read."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from fusionreid.registry import MODELS

TIMM = 'timm'
# What an mmpretrain backbone is told, where its constructor has the setting and the config is
# silent: to keep its class token and its grid instead of pooling them away, and to run on the
# small maps of person images.
MMPRETRAIN_SETTINGS = dict(out_type='raw', gap_before_final_norm=False, pad_small_map=True)


@MODELS.register_module()
class BackboneAdapter(BaseModule):
    """Any CNN or transformer of mmpretrain or timm as the backbone of a branch.

    Width, grid and class token are read from the network by one forward pass of an empty image.

    Args:
        backbone: ``dict(type='timm', model_name=..., ...)`` with whatever ``timm.create_model``
            takes, or the config of an mmpretrain backbone, ``dict(type='mmpretrain.ConvNeXt',
            ...)``.
        img_size: Height and width of the images in pixels; handed on to networks that are built
            for one size. Defaults to ``(256, 128)``.
        init_cfg: Initialization config.

    Raises:
        ValueError: If the network does not take images of this size, or its output cannot be read
            as a map, with a class token or without.

    Example:
        >>> network = dict(type='mmpretrain.MobileNetV2', widen_factor=0.25)
        >>> backbone = BackboneAdapter(network, img_size=(128, 64))
        >>> backbone.has_class_token, backbone.out_channels, backbone.grid
        (False, 1280, (4, 2))
    """

    num_cameras = 0

    def __init__(
        self,
        backbone: dict[str, Any],
        img_size: tuple[int, int] = (256, 128),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        height, width = img_size
        self.img_size = (height, width)
        self.name = backbone.get('model_name', backbone['type'])
        from_timm = backbone['type'] == TIMM
        self._read = read_timm if from_timm else read_mmpretrain
        build = build_timm if from_timm else build_mmpretrain
        self.model, is_fixed = build(backbone, self.img_size)
        self.fixed_image_size = self.img_size if is_fixed else None
        token, feature_map = self._probe()
        self.has_class_token = token is not None
        self.out_channels: int = feature_map.shape[1]
        self.grid: tuple[int, int] = (feature_map.shape[2], feature_map.shape[3])

    @torch.no_grad()
    def _probe(self) -> tuple[Tensor | None, Tensor]:
        """Encode an empty image, on the device that the network was built on."""
        device = next(self.model.parameters()).device
        self.model.train(False)
        try:
            outputs = self(torch.zeros(1, 3, *self.img_size, device=device))
        except (AssertionError, RuntimeError) as error:
            raise ValueError(
                f'{self.name} cannot encode images of {self.img_size} pixels: '
                f'{str(error) or type(error).__name__}'
            ) from error
        self.model.train(True)
        return outputs

    def forward(
        self, images: Tensor, camera_ids: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Encode images.

        Args:
            images: Normalized images of shape ``(B, 3, H, W)``.
            camera_ids: Ignored: these networks look at the image alone.

        Returns:
            The class token of shape ``(B, out_channels)``, or None where the network has none, and
            the map of its last stage, ``(B, out_channels, H', W')``.

        Raises:
            ValueError: If the network cannot lay its tokens on the grid of another image size than
                ``img_size``.
        """
        try:
            return self._read(self.model, images)
        except ValueError as error:
            raise ValueError(
                f'{self.name} on images of {tuple(images.shape[2:])} pixels, built for '
                f'{self.img_size}: {error}'
            ) from error


def build_timm(backbone: dict[str, Any], img_size: tuple[int, int]) -> tuple[nn.Module, bool]:
    """Build a timm network without its classifier.

    Args:
        backbone: ``model_name`` and what else ``timm.create_model`` takes.
        img_size: Height and width of the images, used where the network is built for one size.

    Returns:
        The network, which MMEngine will not initialize again, and whether it is built for one size.

    Raises:
        ValueError: If timm does not know the network.
    """
    import timm

    settings = {key: value for key, value in backbone.items() if key != 'type'}
    if not timm.is_model(settings.get('model_name', '').split('.')[0]):
        raise ValueError(
            f'timm {timm.__version__} has no network {settings.get("model_name")!r}: give one of '
            'timm.list_models() as model_name'
        )
    pretrained_cfg = timm.get_pretrained_cfg(settings['model_name'])
    is_fixed = pretrained_cfg is not None and pretrained_cfg.fixed_input_size
    if is_fixed:
        settings.setdefault('img_size', img_size)
    # Any, since torch declares what it does not know of a module as a tensor or a module.
    model: Any = timm.create_model(num_classes=0, **settings)
    # What lies behind the last map would get no gradient, for which distributed training waits.
    model.prune_intermediate_layers(indices=1, prune_norm=False, prune_head=True)
    # timm initializes in the constructor; some networks have an `init_weights` that MMEngine would
    # call again, over weights that were loaded.
    model.is_init = True
    return model, is_fixed


def read_timm(model: nn.Module, images: Tensor) -> tuple[Tensor | None, Tensor]:
    """Encode images with a timm network.

    Args:
        model: Network from :func:`build_timm`.
        images: Normalized images of shape ``(B, 3, H, W)``.

    Returns:
        The class token of shape ``(B, C)``, or None where the network has none, and the map of its
        last stage, ``(B, C, H', W')``.

    Raises:
        ValueError: If the network gives no map.
    """
    settings: dict[str, Any] = dict(
        indices=1, norm=True, output_fmt='NCHW', intermediates_only=True
    )
    network: Any = model  # its methods are none that torch declares
    has_class_token = getattr(network, 'cls_token', None) is not None
    # Some networks bring in their class token so late, or drop it so early, that it is no prefix.
    if has_class_token and _takes(network.forward_intermediates, 'return_prefix_tokens'):
        outputs = network.forward_intermediates(images, return_prefix_tokens=True, **settings)
        feature_map, prefix = outputs[-1]
        return prefix[:, 0], _as_map(feature_map)
    return None, _as_map(network.forward_intermediates(images, **settings)[-1])


def build_mmpretrain(backbone: dict[str, Any], img_size: tuple[int, int]) -> tuple[nn.Module, bool]:
    """Build a backbone from the registry so that it keeps its class token and its grid.

    Args:
        backbone: Config of the backbone.
        img_size: Height and width of the images, used where the network is built for one size.

    Returns:
        The backbone, and whether it is built for one size.
    """
    network = MODELS.get(backbone['type'])
    known = _constructor_settings(network) if network is not None else set()
    settings = {'img_size': img_size, **MMPRETRAIN_SETTINGS}
    model = MODELS.build({**{key: settings[key] for key in settings if key in known}, **backbone})
    return model, 'img_size' in known


def read_mmpretrain(model: nn.Module, images: Tensor) -> tuple[Tensor | None, Tensor]:
    """Encode images with an mmpretrain backbone.

    Args:
        model: Backbone from :func:`build_mmpretrain`.
        images: Normalized images of shape ``(B, 3, H, W)``.

    Returns:
        The class token of shape ``(B, C)``, or None where the backbone has none, and the map of its
        last stage, ``(B, C, H', W')``.

    Raises:
        ValueError: If the backbone gives no map, or its tokens do not lie on its grid.
    """
    output = model(images)
    while isinstance(output, (tuple, list)):
        output = output[-1]
    if output.ndim != 3:
        return None, _as_map(output)
    rows, columns = getattr(model, 'patch_resolution', (0, 0))
    num_extra = output.shape[1] - rows * columns
    if not rows or not 0 <= num_extra <= getattr(model, 'num_extra_tokens', 0):
        raise ValueError(
            f'{output.shape[1]} tokens do not lie on a grid of {rows}x{columns} patches'
        )
    feature_map = output[:, num_extra:].transpose(1, 2).unflatten(2, (rows, columns))
    return output[:, 0] if num_extra else None, feature_map


def _as_map(output: Tensor) -> Tensor:
    if output.ndim != 4:
        raise ValueError(
            f'the output has the shape {tuple(output.shape)}, expected a map (B, C, H, W); does '
            'the config pool it?'
        )
    return output


def _takes(function: Callable[..., Any], name: str) -> bool:
    return name in inspect.signature(function).parameters


def _constructor_settings(network: type) -> set[str]:
    """Names of all settings of a class, also those that its constructor hands to its parents'."""
    names: set[str] = set()
    for parent in network.__mro__:
        if '__init__' not in vars(parent):
            continue
        parameters = inspect.signature(vars(parent)['__init__']).parameters.values()
        names.update(parameter.name for parameter in parameters)
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            break
    return names
