from .bootstrap import ScoreSpread, bootstrap_gain, bootstrap_scores, subset_scores
from .camera_centering import CameraMeans, camera_means, center_cameras
from .camera_pairs import CameraPairResult, evaluate_camera_pairs
from .errors import MemoryLimitError, ScoringInputError
from .match_rates import (
    MatchRates,
    SearchRates,
    evaluate_match_rates,
    evaluate_search_rates,
    labels_of_one_set,
)
from .open_set import (
    OpenSetPoint,
    OpenSetResult,
    evaluate_open_set,
    evaluate_open_set_distances,
)
from .principal_components import (
    PrincipalComponents,
    fit_principal_components,
    principal_coordinates,
)
from .query_expansion import average_query_expansion
from .ranking import evaluate_distances, evaluate_ranking, rank_queries
from .ranking_result import QueryScores, RankingResult
from .rates import wilson_interval
from .repeats import MeanScores, RepeatedResult
from .reranking import k_reciprocal_rerank, reranked_blocks
from .score_normalization import (
    CohortStatistics,
    cohort_statistics,
    normalize_distances,
    normalized_blocks,
)
from .top_k import SearchResult, top_k
from .tracklets import mean_of_tracklets
from .verification import OperatingPoint, VerificationResult, evaluate_verification

__all__ = [
    'CameraMeans',
    'CameraPairResult',
    'CohortStatistics',
    'MatchRates',
    'MeanScores',
    'MemoryLimitError',
    'OpenSetPoint',
    'OpenSetResult',
    'OperatingPoint',
    'PrincipalComponents',
    'QueryScores',
    'RankingResult',
    'RepeatedResult',
    'ScoreSpread',
    'ScoringInputError',
    'SearchRates',
    'SearchResult',
    'VerificationResult',
    'average_query_expansion',
    'bootstrap_gain',
    'bootstrap_scores',
    'camera_means',
    'center_cameras',
    'cohort_statistics',
    'evaluate_camera_pairs',
    'evaluate_distances',
    'evaluate_match_rates',
    'evaluate_open_set',
    'evaluate_open_set_distances',
    'evaluate_ranking',
    'evaluate_search_rates',
    'evaluate_verification',
    'fit_principal_components',
    'k_reciprocal_rerank',
    'labels_of_one_set',
    'mean_of_tracklets',
    'normalize_distances',
    'normalized_blocks',
    'principal_coordinates',
    'rank_queries',
    'reranked_blocks',
    'subset_scores',
    'top_k',
    'wilson_interval',
]
