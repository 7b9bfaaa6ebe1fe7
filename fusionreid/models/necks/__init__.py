from .dual_attention_mutual_fusion import DualAttentionMutualFusion
from .gem import GeMPooling, generalized_mean
from .htm import HeterogenousTransmissionModule
from .lru import LocalRefinementUnit
from .mfu import MutualFusionUnit
from .seu import SharedEncodingUnit

__all__ = [
    'DualAttentionMutualFusion',
    'GeMPooling',
    'HeterogenousTransmissionModule',
    'LocalRefinementUnit',
    'MutualFusionUnit',
    'SharedEncodingUnit',
    'generalized_mean',
]
