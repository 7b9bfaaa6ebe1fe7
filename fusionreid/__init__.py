"""FusionReID: person re-identification by unified convolutional and transformer features."""

from . import registry
from .version import __version__

__all__ = ['__version__', 'registry']
