from .atomic_backend import AtomicLocalBackend
from .latest import find_resumable
from .original import convert_original_state

__all__ = ['AtomicLocalBackend', 'convert_original_state', 'find_resumable']
