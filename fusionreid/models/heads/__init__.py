from .bnneck_head import BNNeck, BNNeckHead
from .classifiers import ArcFaceClassifier, CircleClassifier, CosFaceClassifier, LinearClassifier

__all__ = [
    'ArcFaceClassifier',
    'BNNeck',
    'BNNeckHead',
    'CircleClassifier',
    'CosFaceClassifier',
    'LinearClassifier',
]
