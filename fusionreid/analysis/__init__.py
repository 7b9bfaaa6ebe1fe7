from .complexity import Complexity, count_parameters, measure_complexity
from .feature_comparison import compare_features, headline_scores, weigh_features
from .markdown_table import markdown_table

__all__ = [
    'Complexity',
    'compare_features',
    'count_parameters',
    'headline_scores',
    'markdown_table',
    'measure_complexity',
    'weigh_features',
]
