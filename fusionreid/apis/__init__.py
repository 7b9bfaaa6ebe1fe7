"""From a checkpoint and images to features."""

from .feature_extractor import FeatureExtractor
from .feature_spec import FeatureSpec

__all__ = ['FeatureExtractor', 'FeatureSpec']
