from .distances import distance_blocks
from .ranking import RankingResult, evaluate_distances, evaluate_ranking, rank_queries
from .search import SearchResult, top_k

__all__ = [
    'RankingResult',
    'SearchResult',
    'distance_blocks',
    'evaluate_distances',
    'evaluate_ranking',
    'rank_queries',
    'top_k',
]
