from .rerank import k_reciprocal_rerank, reranked_blocks

__all__ = ['k_reciprocal_rerank', 'reranked_blocks']
