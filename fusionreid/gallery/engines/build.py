"""Building an engine from its name or its settings."""

from __future__ import annotations

import inspect
from types import UnionType
from typing import Any, Union, get_args, get_origin

from fusionreid.errors import GalleryError
from fusionreid.registry import SEARCH_ENGINES

from .base import SearchEngine


def engine_names() -> list[str]:
    """The names of the engines that are registered.

    Example:
        >>> engine_names()
        ['compressed', 'exact', 'faiss_flat', 'faiss_ivfpq', 'milvus', 'pgvector']
    """
    SEARCH_ENGINES.import_from_location()
    return sorted(SEARCH_ENGINES.module_dict)


def build_engine(engine: str | dict[str, Any]) -> SearchEngine:
    """Build an engine from its name, or a config such as ``dict(type='faiss_ivfpq', probes=64)``.

    Only registered names are looked up, so that the settings in an index cannot make anything else.

    Args:
        engine: The name, or the settings with the name as ``type``.

    Returns:
        The engine, still closed.

    Raises:
        GalleryError: If there is no such engine, it has no such setting, a setting is of another
            type, or the engine cannot work here.

    Example:
        >>> build_engine('exact').settings
        {'type': 'exact'}
    """
    if not isinstance(engine, (str, dict)):
        raise GalleryError(f'an engine is a name or a dict with a type, got {engine!r}')
    settings = dict(type=engine) if isinstance(engine, str) else dict(engine)
    name = settings.pop('type', None)
    if not isinstance(name, str) or name not in engine_names():
        raise GalleryError(f'engine {name!r} is unknown, choose one of {", ".join(engine_names())}')
    kind = SEARCH_ENGINES.module_dict[name]
    try:
        inspect.signature(kind).bind(**settings)
    except TypeError as error:
        raise GalleryError(f'engine {name!r}: {error}') from error
    # Not get_type_hints: for a default of None, Python 3.10 wraps it in another kind of union.
    hints = inspect.get_annotations(kind.__init__, eval_str=True)
    for setting, value in settings.items():
        hint = hints.get(setting, Any)
        if not _fits(value, hint):
            wanted = hint.__name__ if isinstance(hint, type) else hint
            raise GalleryError(f'{setting} of {name} must be of type {wanted}, got {value!r}')
    return kind(**settings)


def _fits(value: Any, hint: Any) -> bool:
    kind = get_origin(hint) or hint
    if kind in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if kind is Any or not isinstance(kind, type):
        return True  # the engine itself knows what it can be
    # To Python a truth value is an integer.
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
