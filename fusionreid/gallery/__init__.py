from .gallery import AddReport, Gallery
from .items import GalleryFilter
from .search_result import GallerySearchResult

__all__ = ['AddReport', 'Gallery', 'GalleryFilter', 'GallerySearchResult']
