from .atomic_backend import AtomicLocalBackend
from .conversion import Conversion, convert_original
from .errors import UnknownWeightsError, WeightsError
from .latest import find_resumable
from .original import convert_original_state, export_original_state
from .pretrained import Pretrained, match_weights
from .weight_file import read_state_dict, read_weight_file, write_weight_file

__all__ = [
    'AtomicLocalBackend',
    'Conversion',
    'Pretrained',
    'UnknownWeightsError',
    'WeightsError',
    'convert_original',
    'convert_original_state',
    'export_original_state',
    'find_resumable',
    'match_weights',
    'read_state_dict',
    'read_weight_file',
    'write_weight_file',
]
