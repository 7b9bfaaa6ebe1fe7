from .backbone_adapter import BackboneAdapter
from .color_histogram import ColorHistogram
from .parallel_backbones import ParallelBackbones
from .resnet import ReIDResNet
from .t2t_vit import ReIDT2TViT
from .vision_transformer import ReIDVisionTransformer

__all__ = [
    'BackboneAdapter',
    'ColorHistogram',
    'ParallelBackbones',
    'ReIDResNet',
    'ReIDT2TViT',
    'ReIDVisionTransformer',
]
