"""The arguments of our parts in a config, compared with the annotations of their constructors."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from fusionreid import registry as registries
from fusionreid.errors import ConfigError

_REGISTRIES = [each for each in vars(registries).values() if isinstance(each, Registry)]
_PACKAGE = __name__.partition('.')[0]
_WORDS = {int: 'a whole number', float: 'a number', bool: 'True or False', str: 'a text'}


def check_arguments(cfg: Config | dict[str, Any]) -> None:
    """Refuse a config in which an argument of one of our parts has another type than it takes.

    Parts of other packages are not looked at: their annotations are often missing or wrong.

    Args:
        cfg: The whole config, with all overrides.

    Raises:
        ConfigError: Naming the argument, its value and what it may be.

    Example:
        >>> check_arguments(dict(model=dict(head=dict(type='BNNeckHead', num_classes='many'))))
        Traceback (most recent call last):
        fusionreid.errors.ConfigError: model.head.num_classes must be a whole number or None, got \
'many'
    """
    for path, part in _find_parts(dict(cfg.items()), ''):
        for name, annotation in _annotations(part['type']).items():
            if name in part and not is_instance(part[name], annotation):
                raise ConfigError(
                    f'{path}.{name} must be {describe_type(annotation)}, got {part[name]!r:.80}'
                )


def _find_parts(value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Find all dicts with a ``type``, with their dotted names; outer ones first."""
    if isinstance(value, Mapping):
        if isinstance(value.get('type'), str):
            yield path, value
        entries: Any = value.items()
    elif isinstance(value, (list, tuple)):
        entries = enumerate(value)
    else:
        return
    for name, entry in entries:
        yield from _find_parts(entry, f'{path}.{name}' if path else str(name))


@cache
def _annotations(kind: str) -> dict[str, Any]:
    """Annotations of the constructor of one of our parts; none for other parts."""
    for registry in _REGISTRIES:
        registry.import_from_location()
        part = registry.module_dict.get(kind.removeprefix(f'{registries.SCOPE}.'))
        if inspect.isclass(part) and part.__module__.startswith(f'{_PACKAGE}.'):
            return typing.get_type_hints(part.__init__)
    return {}


def is_instance(value: Any, annotation: Any) -> bool:
    """Whether a value from a config is of an annotated type.

    A whole number is a number, but True is none, and a list may stand for a tuple.

    Args:
        value: The value.
        annotation: Numbers, texts, truth values, None, sequences, mappings, and unions of them;
            anything is of another type.

    Returns:
        Whether it is.

    Example:
        >>> is_instance([256, 128], tuple[int, int]), is_instance([256], tuple[int, int])
        (True, False)
        >>> is_instance('a', int | None), is_instance(None, int | None)
        (False, True)
    """
    kind, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if kind in (typing.Union, types.UnionType):
        return any(is_instance(value, each) for each in inner)
    if kind in (int, float):
        wide = Integral if kind is int else Real
        return isinstance(value, wide) and not isinstance(value, bool) and value == value
    if kind in (None, types.NoneType):
        return value is None
    if kind in (bool, str):
        return isinstance(value, kind)
    if not inspect.isclass(kind):
        return True
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping) and (
            not inner or all(is_instance(entry, inner[1]) for entry in value.values())
        )
    if issubclass(kind, (list, tuple)) or kind is Sequence:
        if not isinstance(value, Sequence) or isinstance(value, str):
            return False
        if kind is tuple and inner and inner[-1] is not ...:
            return len(value) == len(inner) and all(map(is_instance, value, inner))
        return not inner or all(is_instance(entry, inner[0]) for entry in value)
    return True


def describe_type(annotation: Any) -> str:
    """Write an annotated type in words.

    Args:
        annotation: As for :func:`is_instance`.

    Returns:
        The words.

    Example:
        >>> describe_type(tuple[int, int]), describe_type(dict[str, str] | None)
        ('a list of 2 (each a whole number)', 'a dict or None')
    """
    kind, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if kind in (typing.Union, types.UnionType):
        return ' or '.join(dict.fromkeys(map(describe_type, inner)))
    if kind in _WORDS:
        return _WORDS[kind]
    if kind in (None, types.NoneType):
        return 'None'
    if inspect.isclass(kind) and issubclass(kind, Mapping):
        return 'a dict'
    if inspect.isclass(kind) and (issubclass(kind, (list, tuple)) or kind is Sequence):
        length = f' of {len(inner)}' if kind is tuple and inner and inner[-1] is not ... else ''
        each = f' (each {describe_type(inner[0])})' if inner and inner[0] is not Any else ''
        return f'a list{length}{each}'
    return getattr(kind, '__name__', str(kind))
