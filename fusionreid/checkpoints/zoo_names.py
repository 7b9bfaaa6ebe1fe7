"""Names of weights in model zoos, as OpenMMLab's configs write them, and what they stand for."""

from __future__ import annotations

import difflib
import os.path
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec

from mmengine.config.utils import _get_cfg_metainfo
from mmengine.runner import checkpoint as mmengine_checkpoint

from fusionreid.errors import WeightsError

_PACKAGE_NAME = re.compile(r'(mm\w+)::(.+)')
_HUB_NAME = re.compile(r'([\w.-]+/[\w.-]+)(?:/(.+))?(?<!/)')
HUB_PREFIX = 'hf-hub:'


def resolve_zoo_name(source: str) -> str:
    """Find the address behind the name of weights in a model zoo.

    Args:
        source: ``torchvision://NAME``, ``open-mmlab://NAME``, ``mmcls://NAME``,
            ``mmpretrain::CONFIG`` for the weights that the metafile of an OpenMMLab package gives
            for a config, ``hf-hub:OWNER/NAME[/FILE]`` for a file on the Hugging Face hub, or
            anything else.

    Returns:
        An ``http(s)://`` address, or ``source`` as it is if it is no such name.

    Raises:
        WeightsError: If the zoo has no such name.

    Example:
        >>> resolve_zoo_name('torchvision://resnet50')
        'https://download.pytorch.org/models/resnet50-0676ba61.pth'
        >>> resolve_zoo_name('weights/resnet50.pth')
        'weights/resnet50.pth'
    """
    for prefix, zoo in _ZOOS.items():
        if source.startswith(prefix):
            return _look_up(source, source.removeprefix(prefix), zoo())
    if source.startswith(HUB_PREFIX):
        return _hub_address(source)
    if found := _PACKAGE_NAME.fullmatch(source):
        return _package_address(source, found[1], found[2])
    return source


def _look_up(source: str, name: str, addresses: Mapping[str, str]) -> str:
    # torchvision's own spelling of its weights.
    for key in (name, name.lower().replace('_weights.', '.')):
        if key in addresses:
            return addresses[key]
    close = difflib.get_close_matches(name, addresses, n=3)
    hint = f'; close to it: {", ".join(close)}' if close else ''
    raise WeightsError(f'{source}: the model zoo has no weights of this name{hint}')


def _openmmlab() -> dict[str, str]:
    addresses: dict[str, str] = mmengine_checkpoint.get_external_models()
    # The user's own table may name files of its folder.
    home = mmengine_checkpoint._get_mmengine_home()
    addresses = {
        name: value if '://' in value else os.path.join(home, value)
        for name, value in addresses.items()
    }
    renamed = mmengine_checkpoint.get_deprecated_model_names()
    addresses.update({old: addresses[new] for old, new in renamed.items() if new in addresses})
    return addresses


def _package_address(source: str, package: str, config: str) -> str:
    # Not by mmengine.hub, which runs the config, and installs a package that is not there.
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f'{source}: {package} is not installed')
    try:
        entry = _get_cfg_metainfo(
            spec.submodule_search_locations[0], config if config.endswith('.py') else f'{config}.py'
        )
        return str(entry['Weights'])
    except (KeyError, ValueError) as error:
        raise WeightsError(
            f'{source}: the metafiles of {package} have no weights for this config'
        ) from error


def _hub_address(source: str) -> str:
    from huggingface_hub import hf_hub_url

    found = _HUB_NAME.fullmatch(source.removeprefix(HUB_PREFIX))
    if not found:
        raise WeightsError(f'{source}: expected {HUB_PREFIX}OWNER/NAME, or .../FILE behind it')
    return str(hf_hub_url(found[1], found[2] or 'model.safetensors'))


_ZOOS: dict[str, Callable[[], Mapping[str, str]]] = {
    'torchvision://': lambda: mmengine_checkpoint.get_torchvision_models(),
    'modelzoo://': lambda: mmengine_checkpoint.get_torchvision_models(),
    'open-mmlab://': _openmmlab,
    'openmmlab://': _openmmlab,
    'mmcls://': lambda: mmengine_checkpoint.get_mmcls_models(),
}
