"""Images that can be searched: items, engines, and what a search returns."""

from .filter import GalleryFilter
from .gallery import AddReport, Gallery
from .rescoring import Rescoring
from .search_result import GallerySearchResult

__all__ = ['AddReport', 'Gallery', 'GalleryFilter', 'GallerySearchResult', 'Rescoring']
