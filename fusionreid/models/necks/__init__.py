from .dual_attention_mutual_fusion import DualAttentionMutualFusion
from .gem import GeMPooling, generalized_mean
from .htm import HeterogenousTransmissionModule, MutualFusionUnit, SharedEncodingUnit
from .lru import LocalRefinementUnit

__all__ = [
    'DualAttentionMutualFusion',
    'GeMPooling',
    'HeterogenousTransmissionModule',
    'LocalRefinementUnit',
    'MutualFusionUnit',
    'SharedEncodingUnit',
    'generalized_mean',
]
