"""Images that can be searched: items, engines, and what a search returns."""

from .address import DatabaseAddress
from .filter import GalleryFilter
from .gallery import AddReport, Gallery
from .metadata import Between
from .rescoring import Rescoring
from .search_result import GallerySearchResult
from .where import read_where

__all__ = [
    'AddReport',
    'Between',
    'DatabaseAddress',
    'Gallery',
    'GalleryFilter',
    'GallerySearchResult',
    'Rescoring',
    'read_where',
]
