"""The steps of a pipeline, from an image file to what a model takes."""

# Importing mmcv's transforms registers Resize, RandomFlip and the others under their own names.
import mmcv.transforms  # noqa: F401

from .antialiased_resize import AntialiasedResize, resize_image
from .formatting import PackReIDInputs
from .loading import LoadReIDImage, pillow_to_rgb, read_image
from .policy_augment import PolicyAugment
from .random_color_jitter import RandomColorJitter
from .random_grayscale_patch import RandomGrayscalePatch
from .random_horizontal_flip import RandomHorizontalFlip
from .random_pad_crop import RandomPadCrop

__all__ = [
    'AntialiasedResize',
    'LoadReIDImage',
    'PackReIDInputs',
    'PolicyAugment',
    'RandomColorJitter',
    'RandomGrayscalePatch',
    'RandomHorizontalFlip',
    'RandomPadCrop',
    'pillow_to_rgb',
    'read_image',
    'resize_image',
]
