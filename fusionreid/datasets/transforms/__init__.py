# Importing mmcv's transforms registers Resize, RandomFlip and the others under their own names.
import mmcv.transforms  # noqa: F401

from .formatting import PackReIDInputs
from .loading import LoadReIDImage, read_image
from .random_pad_crop import RandomPadCrop

__all__ = ['LoadReIDImage', 'PackReIDInputs', 'RandomPadCrop', 'read_image']
