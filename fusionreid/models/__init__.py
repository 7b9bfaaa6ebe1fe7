from .backbones import (
    BackboneAdapter,
    ColorHistogram,
    ReIDResNet,
    ReIDT2TViT,
    ReIDVisionTransformer,
)
from .data_preprocessors import ReIDDataPreprocessor
from .heads import BNNeckHead
from .losses import BatchHardTripletLoss
from .necks import DualAttentionMutualFusion, GeMPooling
from .retrievers import FusionReID

__all__ = [
    'BNNeckHead',
    'BackboneAdapter',
    'BatchHardTripletLoss',
    'ColorHistogram',
    'DualAttentionMutualFusion',
    'FusionReID',
    'GeMPooling',
    'ReIDDataPreprocessor',
    'ReIDResNet',
    'ReIDT2TViT',
    'ReIDVisionTransformer',
]
