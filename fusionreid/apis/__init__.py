from .feature_extractor import FeatureExtractor
from .feature_spec import FeatureSpec

__all__ = ['FeatureExtractor', 'FeatureSpec']
