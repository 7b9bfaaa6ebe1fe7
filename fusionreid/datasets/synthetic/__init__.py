"""Renders people in small street scenes, laid out as a person re-identification data set."""

from .clip import ClipConfig, render_clips
from .identity import Identity, sample_identities
from .layout import LAYOUTS, MAX_CAMERAS
from .world import WORLDS, WorldConfig
from .writer import SyntheticConfig, read_plan, render_data_set, render_silhouettes

__all__ = [
    'LAYOUTS',
    'MAX_CAMERAS',
    'WORLDS',
    'ClipConfig',
    'Identity',
    'SyntheticConfig',
    'WorldConfig',
    'read_plan',
    'render_clips',
    'render_data_set',
    'render_silhouettes',
    'sample_identities',
]
