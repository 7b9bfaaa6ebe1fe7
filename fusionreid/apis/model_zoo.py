"""The models that come with the package, by name."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DefaultScope
from torch import nn

from fusionreid.checkpoints.weight_file import locate_weight_file, read_weight_file
from fusionreid.config import build_errors, packaged_configs, read_config
from fusionreid.errors import ConfigError
from fusionreid.models import as_student
from fusionreid.registry import MODELS, SCOPE
from fusionreid.utils.device import find_device

from .feature_extractor import load_weights


def list_models(pattern: str = '*') -> list[str]:
    """List the models that come with the package.

    Args:
        pattern: Which names, with ``*`` and ``?`` as wildcards.

    Returns:
        The names, sorted.

    Example:
        >>> list_models('fusionreid_vitb_r50_msmt17')
        ['fusionreid_vitb_r50_msmt17']
    """
    return [name for name in packaged_configs() if fnmatch.fnmatchcase(name, pattern)]


def get_model(
    name: str | Path,
    pretrained: str | Path | None = None,
    device: str | torch.device = 'cpu',
    **settings: Any,
) -> nn.Module:
    """Build a model.

    Args:
        name: Name from :func:`list_models`, or path of a config file, which is run.
        pretrained: Weights, as a path or an ``http(s)://`` address; they must fit exactly. None
            leaves the model as it is built, with no weights loaded.
        device: Where it goes.
        **settings: Settings of the config's ``model`` to replace.

    Returns:
        The model, in evaluation mode; its config is ``model._config``, as in mmpretrain.

    Raises:
        ConfigError: There is no such config or device, or the model cannot be built.
        WeightsError: The weights cannot be read or do not fit.

    Example:
        >>> model = get_model('r50_market1501')
        >>> model.feature_widths
        {'cnn': 2048}
    """
    cfg = read_config(name)
    if not cfg.get('model'):
        raise ConfigError(f'{name} has no model: list_models() lists those that are there')
    cfg.model = as_student(cfg.model)
    cfg.model.update(settings)
    place = find_device(device)
    with DefaultScope.overwrite_default_scope(SCOPE), build_errors():
        model = MODELS.build(cfg.model)
    if pretrained is not None:
        checkpoint = locate_weight_file(pretrained)
        load_weights(model, read_weight_file(checkpoint), checkpoint)
    model._config = cfg
    return model.to(place).eval()
