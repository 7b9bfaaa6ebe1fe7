"""From a checkpoint and images to features."""

from .calibration import Calibration, RateEstimate
from .calibration_file import (
    calibration_path,
    find_calibration,
    load_calibration,
    save_calibration,
)
from .feature_extractor import FeatureExtractor
from .feature_spec import FeatureSpec
from .model_zoo import get_model, list_models
from .projection import Projection
from .reid_inferencer import Comparison, ReIDInferencer, ReIDResult

__all__ = [
    'Calibration',
    'Comparison',
    'FeatureExtractor',
    'FeatureSpec',
    'Projection',
    'RateEstimate',
    'ReIDInferencer',
    'ReIDResult',
    'calibration_path',
    'find_calibration',
    'get_model',
    'list_models',
    'load_calibration',
    'save_calibration',
]
