from .bnneck_head import BNNeck, BNNeckHead
from .feature_heads import FeatureHeads

__all__ = ['BNNeck', 'BNNeckHead', 'FeatureHeads']
