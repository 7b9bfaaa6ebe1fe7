from .backbone_adapter import BackboneAdapter
from .color_histogram import ColorHistogram
from .resnet import ReIDResNet
from .t2t_vit import ReIDT2TViT
from .vision_transformer import ReIDVisionTransformer

__all__ = [
    'BackboneAdapter',
    'ColorHistogram',
    'ReIDResNet',
    'ReIDT2TViT',
    'ReIDVisionTransformer',
]
