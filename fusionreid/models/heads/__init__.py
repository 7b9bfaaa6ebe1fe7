from .bnneck_head import BNNeck, BNNeckHead
from .classifiers import ArcFaceClassifier, CircleClassifier, CosFaceClassifier, LinearClassifier
from .feature_heads import FeatureHeads

__all__ = [
    'ArcFaceClassifier',
    'BNNeck',
    'BNNeckHead',
    'CircleClassifier',
    'CosFaceClassifier',
    'FeatureHeads',
    'LinearClassifier',
]
