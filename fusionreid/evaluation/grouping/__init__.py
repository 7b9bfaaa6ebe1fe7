"""Groups features into people; no more than the nearest neighbors of each photo are looked at."""

from .groups import Grouping, group_features
from .methods import METHODS
from .scores import GroupingScores, score_groups

__all__ = ['METHODS', 'Grouping', 'GroupingScores', 'group_features', 'score_groups']
