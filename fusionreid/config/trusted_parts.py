"""What the config in a file that is not trusted may build: registered parts, with literal values.

MMEngine's registry imports what it does not know (``dict(type='mmengine.remove', ...)`` would
delete a file), and many parts load a file that their config names. Neither happens here.
"""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from unittest import mock

from mmcv.transforms import BaseTransform
from mmengine.registry import DefaultScope, Registry
from torch import nn

from fusionreid.errors import ConfigError
from fusionreid.registry import MODELS, SCOPE, TRANSFORMS

# By the registry's name: what a part has to be, and where it has to be defined. Classes that are
# registered in our own scope may be defined anywhere, since someone has imported them already.
_BASES: dict[str, type] = {MODELS.name: nn.Module, TRANSFORMS.name: BaseTransform}
_PACKAGES = {
    MODELS.name: (
        'mmcv.cnn.',
        'mmengine.model.base_model.',
        'mmpretrain.models.backbones.',
        'mmpretrain.models.heads.',
        'mmpretrain.models.losses.',
        'mmpretrain.models.necks.',
        'mmpretrain.models.utils.',
        'torch.nn.modules.',
    ),
    TRANSFORMS.name: ('mmcv.transforms.', 'mmpretrain.datasets.transforms.'),
}
# The first two read files through any storage backend, the next builds whatever its library has,
# the last runs the config of its teacher.
_EXCLUDED = ('LoadImageFromFile', 'LoadAnnotations', 'Albumentations', 'FusionReIDDistiller')
# Arguments that make a part load, fetch or write something; torch.compile's name a compiler to run.
DROPPED = frozenset(
    (
        'backend_args',
        'cache_dir',
        'checkpoint',
        'checkpoint_path',
        'compile',
        'file_client_args',
        'init_cfg',
        'load_from',
        'pretrained',
        'pretrained_cfg',
        'pretrained_cfg_overlay',
    )
)
# No part needs a text that could be a path, an address or code.
_TEXT = re.compile(r'[\w .,+\-=()]*')
_TIMM_NAME = re.compile(r'\w+(?:\.\w+)?')
_TIMM = 'timm'  # stands in a BackboneAdapter for what timm builds; no registry knows it
_LOCK = threading.RLock()


def find_trusted(key: str, registry: Registry) -> type | None:
    """Look up a part as MMEngine does, but import nothing, and take nothing else than a part.

    Args:
        key: Name, with or without the scope in front.
        registry: Registry of models or of transforms, of any scope.

    Returns:
        The class; None if there is none, or it is not to be built from a file.

    Example:
        >>> find_trusted('IDLoss', MODELS).__name__
        'IDLoss'
        >>> find_trusted('mmengine.remove', MODELS) is None
        True
    """
    base = _BASES.get(registry.name)
    scope, name = Registry.split_scope_key(key)
    if base is None or not name.isidentifier():
        return None
    current: Registry | None = registry
    if scope is not None:
        if scope == 'mmpretrain':
            import_module('mmpretrain.registry')
        root = registry._get_root_registry()
        current = root if scope == root.scope else root.children.get(scope)
    while current is not None:
        current.import_from_location()
        if name in current.module_dict:
            part = current.module_dict[name]
            return part if _is_trusted(part, current, base) else None
        current = current.parent
    return None


def _is_trusted(part: Any, registry: Registry, base: type) -> bool:
    return (
        inspect.isclass(part)
        and issubclass(part, base)
        and part.__name__ not in _EXCLUDED
        and (registry.scope == SCOPE or part.__module__.startswith(_PACKAGES[registry.name]))
    )


def clean_config(config: dict[str, Any], registry: Registry, source: str) -> dict[str, Any]:
    """Reduce a config of literal values to what may be built from a file.

    Args:
        config: Config of a model or a transform; it is not changed.
        registry: Registry that would build it.
        source: Where the config is from, for errors.

    Returns:
        A copy without the arguments in :data:`DROPPED`, at any depth.

    Raises:
        ConfigError: If a type is not a registered part, or a value could be a path or an address;
            it names the type or the value.

    Example:
        >>> clean_config(dict(type='IDLoss', init_cfg=dict(type='Pretrained')), MODELS, 'an index')
        {'type': 'IDLoss'}
        >>> clean_config(dict(type='mmengine.remove', filepath='a'), MODELS, 'an index')
        Traceback (most recent call last):
        fusionreid.errors.ConfigError: the config in an index names the type 'mmengine.remove', \
which is not a registered model: if you trust it, give the config file itself
    """
    if not isinstance(config, dict) or 'type' not in config:
        raise _refusal(source, f'has {config!r:.80} where the config of a {registry.name} belongs')
    cleaned: dict[str, Any] = _clean(config, registry, source)
    return cleaned


def _clean(value: Any, registry: Registry, source: str) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_clean(item, registry, source) for item in value)
    if isinstance(value, str) and not _TEXT.fullmatch(value):
        raise _refusal(source, f'holds the text {value!r}, which could be a path or an address')
    if not isinstance(value, dict):
        return value
    if 'type' in value:
        _check_type(value, registry, source)
    # It makes the registry import a package.
    if '_scope_' in value:
        raise _refusal(source, f'switches to the scope {value["_scope_"]!r}')
    return {
        key: _clean(item, registry, source) for key, item in value.items() if key not in DROPPED
    }


def _check_type(config: dict[str, Any], registry: Registry, source: str) -> None:
    kind = config['type']
    if not isinstance(kind, str) or (kind != _TIMM and find_trusted(kind, registry) is None):
        raise _refusal(
            source, f'names the type {kind!r}, which is not a registered {registry.name}'
        )
    # timm's own loader takes addresses as names.
    name = config.get('model_name', _TIMM)
    if not isinstance(name, str) or not _TIMM_NAME.fullmatch(name):
        raise _refusal(source, f'names the network {name!r}, which is not one of timm')


def _refusal(source: str, reason: str) -> ConfigError:
    return ConfigError(
        f'the config in {source} {reason}: if you trust it, give the config file itself'
    )


def build_untrusted(config: dict[str, Any], registry: Registry, source: str) -> Any:
    """Build a model or a transform from the config in a file.

    Args:
        config: Config of literal values.
        registry: Registry of models or of transforms.
        source: Where the config is from, for errors.

    Returns:
        What the registry builds of the cleaned config (:func:`clean_config`).

    Raises:
        ConfigError: As :func:`clean_config` does, also for what a part wants to build by a name
            that it was given or makes up.
    """
    cleaned = clean_config(config, registry, source)
    with DefaultScope.overwrite_default_scope(SCOPE), _registered_parts_only(source):
        return registry.build(cleaned)


@contextmanager
def _registered_parts_only(source: str) -> Iterator[None]:
    """Confine all registries to :func:`find_trusted`, in this thread.

    Some parts take the name of a layer as text of its own, outside of any ``type``.
    """
    usual, builder = Registry.get, threading.get_ident()

    def get(self: Registry, key: str) -> Any:
        if threading.get_ident() != builder:
            return usual(self, key)
        part = find_trusted(key, self)
        if part is None:
            raise _refusal(source, f'leads to {key!r}, which is not a registered {self.name}')
        return part

    with _LOCK, mock.patch.object(Registry, 'get', get):
        yield
