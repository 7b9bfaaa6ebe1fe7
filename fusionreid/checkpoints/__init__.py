from fusionreid.workarounds.atomic_backend import AtomicLocalBackend

from .checkpoint_loader import load_from_weight_file
from .pretrained import Pretrained, match_weights
from .resumable import check_resumable, find_resumable
from .weight_file import locate_weight_file, read_state_dict, read_weight_file, write_weight_file

__all__ = [
    'AtomicLocalBackend',
    'Pretrained',
    'check_resumable',
    'find_resumable',
    'load_from_weight_file',
    'locate_weight_file',
    'match_weights',
    'read_state_dict',
    'read_weight_file',
    'write_weight_file',
]
