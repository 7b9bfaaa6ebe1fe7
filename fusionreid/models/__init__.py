from .backbones import (
    BackboneAdapter,
    ColorHistogram,
    ParallelBackbones,
    ReIDResNet,
    ReIDT2TViT,
    ReIDVisionTransformer,
)
from .data_preprocessors import ReIDDataPreprocessor
from .heads import BNNeckHead, FeatureHeads
from .inference_form import inference_form
from .losses import BatchHardTripletLoss, IDLoss
from .meta_device import build_on_meta
from .necks import DualAttentionMutualFusion, GeMPooling
from .plain_computation import plain_computation
from .retrievers import (
    FusionReID,
    FusionReIDDistiller,
    TrackerReID,
    as_student,
    is_distiller,
    keep_branch_order,
)

__all__ = [
    'BNNeckHead',
    'BackboneAdapter',
    'BatchHardTripletLoss',
    'ColorHistogram',
    'DualAttentionMutualFusion',
    'FeatureHeads',
    'FusionReID',
    'FusionReIDDistiller',
    'GeMPooling',
    'IDLoss',
    'ParallelBackbones',
    'ReIDDataPreprocessor',
    'ReIDResNet',
    'ReIDT2TViT',
    'ReIDVisionTransformer',
    'TrackerReID',
    'as_student',
    'build_on_meta',
    'inference_form',
    'is_distiller',
    'keep_branch_order',
    'plain_computation',
]
