from .feature_set import FeatureSet

__all__ = ['FeatureSet']
