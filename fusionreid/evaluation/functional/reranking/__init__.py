from .parameters import (
    DEFAULT_K1,
    DEFAULT_K2,
    DEFAULT_LAMBDA_VALUE,
    DEFAULT_RERANKING_MEMORY_LIMIT,
    check_parameters,
)
from .rerank import k_reciprocal_rerank, reranked_blocks

__all__ = [
    'DEFAULT_K1',
    'DEFAULT_K2',
    'DEFAULT_LAMBDA_VALUE',
    'DEFAULT_RERANKING_MEMORY_LIMIT',
    'check_parameters',
    'k_reciprocal_rerank',
    'reranked_blocks',
]
