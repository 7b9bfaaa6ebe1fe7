"""From a checkpoint and images to features."""

from .calibration import Calibration
from .feature_extractor import FeatureExtractor
from .feature_spec import FeatureSpec
from .model_zoo import get_model, list_models
from .reid_inferencer import Comparison, ReIDInferencer, ReIDResult

__all__ = [
    'Calibration',
    'Comparison',
    'FeatureExtractor',
    'FeatureSpec',
    'ReIDInferencer',
    'ReIDResult',
    'get_model',
    'list_models',
]
