"""What finds the nearest items, each engine registered by its name in ``SEARCH_ENGINES``."""

from .base import Hits, SearchEngine
from .build import build_engine, engine_names
from .compressed import CompressedEngine
from .exact import ExactEngine
from .faiss_flat import FaissFlatEngine
from .faiss_ivfpq import FaissIVFPQEngine
from .milvus import MilvusEngine
from .pgvector import PgvectorEngine

__all__ = [
    'CompressedEngine',
    'ExactEngine',
    'FaissFlatEngine',
    'FaissIVFPQEngine',
    'Hits',
    'MilvusEngine',
    'PgvectorEngine',
    'SearchEngine',
    'build_engine',
    'engine_names',
]
