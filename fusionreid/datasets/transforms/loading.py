from __future__ import annotations

import contextlib

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image, ImageOps

from fusionreid.registry import TRANSFORMS

from ..errors import ImageDecodeError

# Named, so that no decoder of documents or scripts ever sees a file that calls itself an image.
_FORMATS = ('JPEG', 'PNG', 'BMP', 'WEBP', 'TIFF', 'GIF')


def read_image(path: str) -> np.ndarray:
    """Decode an image file to RGB.

    The orientation that a camera noted in EXIF is applied. Grey, palette and CMYK images become
    RGB, transparency is dropped, 16-bit grey is scaled to 8 bit. Of an animation the first frame
    is taken.

    Args:
        path (str): The image file.

    Returns:
        np.ndarray: uint8 of shape (H, W, 3), RGB.

    Raises:
        ImageDecodeError: If the file is missing, no image, truncated or of an unsupported kind;
            it names the file.
    """
    try:
        with open(path, 'rb') as file, Image.open(file, formats=_FORMATS) as image:
            image.load()
            _turn_upright(image)
            return np.array(_to_rgb(image))
    except FileNotFoundError:
        raise ImageDecodeError(f"image '{path}' does not exist (any more)") from None
    except Exception as error:  # decoders raise SyntaxError, struct.error, OSError and others
        raise ImageDecodeError(
            f"image '{path}' cannot be decoded ({type(error).__name__}: {error}). Replace the "
            f'file, or remove it from the data set.'
        ) from error


def _turn_upright(image: Image.Image) -> None:
    # Broken EXIF says nothing about the pixels, which are decoded by now.
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith('I;16'):
        grey = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert('RGB')
    if image.mode in ('I', 'F'):
        raise ValueError(
            f'its 32-bit pixels (mode {image.mode}) have no defined range; save it with 8 bits'
        )
    if image.mode == 'P' and 'transparency' in image.info:
        image = image.convert('RGBA')
    return image if image.mode == 'RGB' else image.convert('RGB')


@TRANSFORMS.register_module()
class LoadReIDImage(BaseTransform):
    """Decode ``results['img_path']`` with :func:`read_image`.

    Adds ``img`` (uint8 of shape (H, W, 3), **RGB**), ``ori_shape`` and ``img_shape`` (H, W).
    """

    def transform(self, results: dict) -> dict:
        """Decode the image.

        Args:
            results (dict): With ``img_path``.

        Returns:
            dict: With ``img``, ``ori_shape`` and ``img_shape``.

        Raises:
            ImageDecodeError: If the file cannot be decoded completely; it names the file.
        """
        image = read_image(results['img_path'])
        results['img'] = image
        results['ori_shape'] = results['img_shape'] = image.shape[:2]
        return results
