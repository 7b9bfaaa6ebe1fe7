from .bootstrap import ScoreSpread, bootstrap_scores, subset_scores
from .camera_pairs import CameraPairResult, evaluate_camera_pairs
from .errors import MemoryLimitError, ScoringInputError
from .query_expansion import average_query_expansion
from .ranking import evaluate_distances, evaluate_ranking, rank_queries
from .ranking_result import QueryScores, RankingResult
from .reranking import k_reciprocal_rerank, reranked_blocks
from .top_k import SearchResult, top_k
from .verification import OperatingPoint, VerificationResult, evaluate_verification

__all__ = [
    'CameraPairResult',
    'MemoryLimitError',
    'OperatingPoint',
    'QueryScores',
    'RankingResult',
    'ScoreSpread',
    'ScoringInputError',
    'SearchResult',
    'VerificationResult',
    'average_query_expansion',
    'bootstrap_scores',
    'evaluate_camera_pairs',
    'evaluate_distances',
    'evaluate_ranking',
    'evaluate_verification',
    'k_reciprocal_rerank',
    'rank_queries',
    'reranked_blocks',
    'subset_scores',
    'top_k',
]
