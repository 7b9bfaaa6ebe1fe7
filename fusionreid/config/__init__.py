"""Reading, merging and building configs."""

from .building import build_errors
from .counts import fill_in_counts, open_counts, take_counts
from .files import config_folder, config_metadata, find_config, packaged_configs, read_config
from .literals import read_literals
from .options import merge_options
from .part_arguments import check_arguments
from .settings import check_settings
from .trusted_parts import build_untrusted, clean_config, find_trusted

__all__ = [
    'build_errors',
    'build_untrusted',
    'check_arguments',
    'check_settings',
    'clean_config',
    'config_folder',
    'config_metadata',
    'fill_in_counts',
    'find_config',
    'find_trusted',
    'merge_options',
    'open_counts',
    'packaged_configs',
    'read_config',
    'read_literals',
    'take_counts',
]
