from .atomic_backend import AtomicLocalBackend
from .pretrained import Pretrained, match_weights
from .resumable import find_resumable
from .weight_file import read_state_dict, read_weight_file, write_weight_file

__all__ = [
    'AtomicLocalBackend',
    'Pretrained',
    'find_resumable',
    'match_weights',
    'read_state_dict',
    'read_weight_file',
    'write_weight_file',
]
