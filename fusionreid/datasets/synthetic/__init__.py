"""Renders people in small street scenes, laid out as a person re-identification data set."""

from .clip import ClipConfig, render_clips
from .difficulty import DIFFICULTIES, Difficulty
from .identity import Identity, Lookalikes, sample_identities
from .layout import LAYOUTS, MAX_CAMERAS
from .world import WORLDS, WorldConfig
from .writer import SyntheticConfig, read_plan, render_data_set, render_silhouettes

__all__ = [
    'DIFFICULTIES',
    'LAYOUTS',
    'MAX_CAMERAS',
    'WORLDS',
    'ClipConfig',
    'Difficulty',
    'Identity',
    'Lookalikes',
    'SyntheticConfig',
    'WorldConfig',
    'read_plan',
    'render_clips',
    'render_data_set',
    'render_silhouettes',
    'sample_identities',
]
