from .errors import GalleryError
from .feature_extractor import FeatureExtractor
from .feature_spec import FeatureSpec
from .gallery import AddReport, Gallery
from .search_result import GallerySearchResult

__all__ = [
    'AddReport',
    'FeatureExtractor',
    'FeatureSpec',
    'Gallery',
    'GalleryError',
    'GallerySearchResult',
]
