from .backbones import (
    BackboneAdapter,
    ColorHistogram,
    ReIDResNet,
    ReIDT2TViT,
    ReIDVisionTransformer,
)
from .data_preprocessors import ReIDDataPreprocessor
from .heads import BNNeckHead
from .inference_form import inference_form
from .losses import BatchHardTripletLoss, IDLoss
from .meta_device import build_on_meta
from .necks import DualAttentionMutualFusion, GeMPooling
from .plain_computation import plain_computation
from .retrievers import FusionReID

__all__ = [
    'BNNeckHead',
    'BackboneAdapter',
    'BatchHardTripletLoss',
    'ColorHistogram',
    'DualAttentionMutualFusion',
    'FusionReID',
    'GeMPooling',
    'IDLoss',
    'ReIDDataPreprocessor',
    'ReIDResNet',
    'ReIDT2TViT',
    'ReIDVisionTransformer',
    'build_on_meta',
    'inference_form',
    'plain_computation',
]
