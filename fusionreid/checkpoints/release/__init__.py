"""All that knows the authors' released code: its key names, what its weights imply, conversion."""

from .conversion import Conversion, convert_original
from .key_renaming import convert_original_state, export_original_state

__all__ = ['Conversion', 'convert_original', 'convert_original_state', 'export_original_state']
