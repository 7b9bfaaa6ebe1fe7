from .prototype_reid_metric import PrototypeReIDMetric
from .reid_metric import ReIDMetric

__all__ = ['PrototypeReIDMetric', 'ReIDMetric']
