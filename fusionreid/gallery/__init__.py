from .gallery import AddReport, Gallery
from .search_result import GallerySearchResult

__all__ = ['AddReport', 'Gallery', 'GallerySearchResult']
