from __future__ import annotations

import inspect
from typing import Any

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
        GalleryError: If there is no such engine, it has no such setting, or it cannot work here.
    """
    settings = dict(type=engine) if isinstance(engine, str) else dict(engine)
    name = settings.pop('type', None)
    if name not in ENGINES:
        raise GalleryError(f'engine {name!r} is unknown, choose one of {", ".join(ENGINES)}')
    try:
        inspect.signature(ENGINES[name]).bind(**settings)
    except TypeError as error:
        raise GalleryError(f'engine {name!r}: {error}') from error
    return ENGINES[name](**settings)


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
