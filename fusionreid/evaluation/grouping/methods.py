"""The ways to group photos, and what each of them needs."""

from __future__ import annotations

#: What each method is called where it is shown.
METHODS = {
    'average': 'average linkage',
    'connected': 'connected components',
    'hdbscan': 'HDBSCAN',
}
DEFAULT_METHOD = 'average'
DEFAULT_NEIGHBORS = 30
DEFAULT_MIN_PHOTOS = 2
# What grouping may use on top of the features and two copies of them, in bytes: 1 GiB.
DEFAULT_GROUPING_MEMORY_LIMIT = 1 << 30
