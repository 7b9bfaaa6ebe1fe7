from .random_erasing import random_erase
from .reid_data_preprocessor import ReIDDataPreprocessor

__all__ = ['ReIDDataPreprocessor', 'random_erase']
