"""Images that can be searched: items, engines, and what a search returns."""

from .gallery import AddReport, Gallery
from .items import GalleryFilter
from .search_result import GallerySearchResult

__all__ = ['AddReport', 'Gallery', 'GalleryFilter', 'GallerySearchResult']
