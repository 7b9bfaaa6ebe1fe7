from __future__ import annotations

import inspect
from types import UnionType
from typing import Any, get_args, get_origin

from ..errors import GalleryError
from .base import Hits, SearchEngine
from .exact import ExactEngine
from .faiss_flat import FaissFlatEngine
from .faiss_ivfpq import FaissIVFPQEngine
from .milvus import MilvusEngine

ENGINES: dict[str, type[SearchEngine]] = {
    engine.name: engine for engine in (ExactEngine, FaissFlatEngine, FaissIVFPQEngine, MilvusEngine)
}


def build_engine(engine: str | dict[str, Any]) -> SearchEngine:
    """Build an engine from its name, or a config such as ``dict(type='faiss_ivfpq', probes=64)``.

    Raises:
        GalleryError: If there is no such engine, it has no such setting, a setting is of another
            type, or the engine cannot work here.
    """
    if not isinstance(engine, (str, dict)):
        raise GalleryError(f'an engine is a name or a dict with a type, got {engine!r}')
    settings = dict(type=engine) if isinstance(engine, str) else dict(engine)
    name = settings.pop('type', None)
    if not isinstance(name, str) or name not in ENGINES:
        raise GalleryError(f'engine {name!r} is unknown, choose one of {", ".join(ENGINES)}')
    try:
        inspect.signature(ENGINES[name]).bind(**settings)
    except TypeError as error:
        raise GalleryError(f'engine {name!r}: {error}') from error
    # Not get_type_hints: for a default of None, Python 3.10 wraps it in another kind of union.
    hints = inspect.get_annotations(ENGINES[name].__init__, eval_str=True)
    for setting, value in settings.items():
        if not _fits(value, hints[setting]):
            wanted = getattr(hints[setting], '__name__', hints[setting])
            raise GalleryError(f'{setting} of {name} must be of type {wanted}, got {value!r}')
    return ENGINES[name](**settings)


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(hint, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    # To Python a truth value is an integer.
    return isinstance(value, get_origin(hint) or hint) and not isinstance(value, bool)


__all__ = [
    'ENGINES',
    'ExactEngine',
    'FaissFlatEngine',
    'FaissIVFPQEngine',
    'Hits',
    'MilvusEngine',
    'SearchEngine',
    'build_engine',
]
