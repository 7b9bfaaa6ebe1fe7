"""Checks of a whole data set: what each image is, and whether images and labels go together."""

from .findings import ERRORS, NOTES, Finding
from .image_facts import ImageFacts, inspect_image
from .image_pool import inspect_images
from .labels import check_labels
from .repeated_images import find_repeated
from .sources import CheckedImage, CheckedSource, read_dataset, read_folder

__all__ = [
    'ERRORS',
    'NOTES',
    'CheckedImage',
    'CheckedSource',
    'Finding',
    'ImageFacts',
    'check_labels',
    'find_repeated',
    'inspect_image',
    'inspect_images',
    'read_dataset',
    'read_folder',
]
