"""Decoding image files with the pixels that Pillow gives, and faster for most JPEGs."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from fusionreid.datasets.files import read_regular
from fusionreid.errors import ImageDecodeError
from fusionreid.registry import TRANSFORMS

# Named, so that no decoder of documents or scripts ever sees a file that calls itself an image.
_FORMATS = ('JPEG', 'PNG', 'BMP', 'WEBP', 'TIFF', 'GIF')
_ANIMATED = ('GIF', 'PNG', 'WEBP')
_STILL_SUFFIXES = ('.jpg', '.jpeg')
# Beyond this, what Pillow does around decoding costs nothing, and it guards against files that
# claim a huge size.
_MAX_DIRECT_PIXELS = 1 << 22


def read_image(path: str) -> np.ndarray:
    """Decode an image file to RGB.

    The orientation that a camera noted in EXIF is applied. Gray, palette and CMYK images become
    RGB, transparency is dropped, 16-bit gray is scaled to 8 bit. Of an animation the first frame
    is taken.

    Args:
        path (str): The image file.

    Returns:
        np.ndarray: uint8 of shape (H, W, 3), RGB.

    Raises:
        ImageDecodeError: If the file is missing, no image, truncated or of an unsupported kind;
            it names the file.
    """
    with _named_errors(path):
        return decode_image(read_regular(path))


def decode_image(content: bytearray) -> np.ndarray:
    """Decode the content of an image file as :func:`read_image` does.

    Args:
        content: The file's bytes.

    Returns:
        np.ndarray: uint8 of shape (H, W, 3), RGB.

    Raises:
        Exception: Whatever a decoder raises.
    """
    # A copy of what Pillow decodes, without the work that it does around it.
    if (decode := jpeg_decoder()) is not None and _is_directly_decodable(content):
        # A warning is an error where Python is told so.
        with contextlib.suppress(RuntimeError, Warning):
            planes = decode(torch.frombuffer(content, dtype=torch.uint8))
            return planes.permute(1, 2, 0).numpy()
    # Everything else, and what is wrong with a broken file, is for Pillow.
    with open_image(content) as image:
        return pillow_to_rgb(image)


def open_image(content: bytearray) -> Image.Image:
    """Read the header of an image of one of the formats that are taken.

    Args:
        content: The file's bytes.

    Returns:
        The image, not decoded yet.

    Raises:
        Exception: Whatever Pillow raises.
    """
    return Image.open(io.BytesIO(content), formats=_FORMATS)


def is_animation(image: Image.Image) -> bool:
    """Whether an image shows several moments, of which nobody can say which one is meant.

    Further images in a JPEG or pages of a TIFF are none: cameras add them for other uses.

    Args:
        image: An open image.

    Returns:
        Whether it is an animated GIF, PNG or WebP.
    """
    return image.format in _ANIMATED and bool(getattr(image, 'is_animated', False))


def check_still(path: str) -> None:
    """Refuse an animation.

    Args:
        path: The image file; what else is wrong with it is left to :func:`read_image`.

    Raises:
        ImageDecodeError: It is one.
    """
    if path.lower().endswith(_STILL_SUFFIXES):
        return
    is_animated = False
    with contextlib.suppress(Exception), open_image(read_regular(path)) as image:
        is_animated = is_animation(image)
    if is_animated:
        raise ImageDecodeError(
            f"image '{path}' is an animation: save the frame that is meant as an image"
        )


@contextlib.contextmanager
def _named_errors(path: str) -> Iterator[None]:
    """Say of which file an error is."""
    try:
        yield
    except FileNotFoundError:
        raise ImageDecodeError(f"image '{path}' does not exist (any more)") from None
    except UnidentifiedImageError:
        raise ImageDecodeError(
            f"image '{path}' cannot be decoded: it is no image of the kinds {', '.join(_FORMATS)}. "
            f'Replace the file, or remove it from the data set.'
        ) from None
    except Exception as error:  # decoders raise SyntaxError, struct.error, OSError and others
        raise ImageDecodeError(
            f"image '{path}' cannot be decoded ({type(error).__name__}: {error}). Replace the "
            f'file, or remove it from the data set.'
        ) from error


def pillow_to_rgb(image: Image.Image) -> np.ndarray:
    """Convert an image of Pillow's as :func:`read_image` converts that of a file.

    Args:
        image: The image, of any mode but those with 32 bits; its pixels may be yet to load.

    Returns:
        uint8 of shape (H, W, 3), RGB.

    Raises:
        ValueError: The mode has no defined range; other errors if the pixels cannot be decoded.

    Example:
        >>> pillow_to_rgb(Image.new('L', (2, 1), 7)).tolist()
        [[[7, 7, 7], [7, 7, 7]]]
    """
    image.load()
    # Broken EXIF says nothing about the pixels, which are decoded by now.
    with contextlib.suppress(Exception):
        image = ImageOps.exif_transpose(image)
    return np.array(_to_rgb(image))


@functools.cache
def jpeg_decoder() -> Callable[[Tensor], Tensor] | None:
    """Find torchvision's JPEG decoder, which is deprecated and missing in some of its builds.

    Returns:
        Function from the bytes of a file (N,) to an image (3, H, W), uint8 both; None where there
        is none, so that Pillow decodes.
    """
    try:
        from torchvision.io import decode_jpeg
    except (ImportError, OSError, RuntimeError):  # no torchvision, or one of another PyTorch
        return None
    return decode_jpeg


def _is_directly_decodable(content: bytearray) -> bool:
    """Whether the bare decoder gives what Pillow gives.

    It does for a JPEG of at most ``_MAX_DIRECT_PIXELS`` with three channels of 8 bits and without
    EXIF and XMP, either of which may hold an orientation.
    """
    if content[:2] != b'\xff\xd8':
        return False
    decodable, start = False, 2
    while start + 9 < len(content) and content[start] == 0xFF:
        marker = content[start + 1]
        if marker in (0xC0, 0xC1, 0xC2):  # frame header: bits, height, width, channels
            bits, channels = content[start + 4], content[start + 9]
            height = int.from_bytes(content[start + 5 : start + 7], 'big')
            width = int.from_bytes(content[start + 7 : start + 9], 'big')
            decodable = bits == 8 and channels == 3 and 0 < height * width <= _MAX_DIRECT_PIXELS
            if not decodable:
                return False
        if marker == 0xDA:  # the pixels; up to here Pillow looks for EXIF
            return decodable
        # APP1, and what has no length.
        if marker == 0xE1 or 0xD0 <= marker <= 0xD9 or not 0xC0 <= marker <= 0xFE:
            return False
        start += 2 + int.from_bytes(content[start + 2 : start + 4], 'big')
    return False


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith('I;16'):
        gray = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((gray + 128) // 257).astype(np.uint8)).convert('RGB')
    if image.mode in ('I', 'F'):
        raise ValueError(
            f'its 32-bit pixels (mode {image.mode}) have no defined range; save it with 8 bits'
        )
    if image.mode == 'P' and 'transparency' in image.info:
        image = image.convert('RGBA')
    return image if image.mode == 'RGB' else image.convert('RGB')


@TRANSFORMS.register_module()
class LoadReIDImage(BaseTransform):
    """Decode ``results['img_path']`` with :func:`read_image`, unless there is an ``img`` already.

    Adds ``img`` (uint8 of shape (H, W, 3), **RGB**), ``ori_shape`` and ``img_shape`` (H, W).
    """

    def __init__(self) -> None:
        # Imported here, workers that are forked need not import torchvision each.
        jpeg_decoder()

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Decode the image.

        Args:
            results (dict): With ``img_path``, or with ``img``: a decoded image of the kind that
                this transform makes, which is taken as it is.

        Returns:
            dict: With ``img``, ``ori_shape`` and ``img_shape``.

        Raises:
            ImageDecodeError: If the file cannot be decoded completely; it names the file.
        """
        if 'img' not in results:
            results['img'] = read_image(results['img_path'])
        results['ori_shape'] = results['img_shape'] = results['img'].shape[:2]
        return results
