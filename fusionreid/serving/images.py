"""Images that come in, decoded within limits, and images that go out, always encoded anew."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fusionreid.datasets.files import read_regular
from fusionreid.datasets.transforms.loading import decode_image, is_animation, open_image

from .limits import Limits
from .refusals import RefusedError

QUALITY = 85


def decode_upload(content: bytes, name: str, limits: Limits) -> np.ndarray:
    """Decode an image that somebody sent; its size is read before it takes any memory.

    Args:
        content: The file.
        name: What a message calls it.
        limits: Bounds of its bytes and pixels.

    Returns:
        uint8 of shape (H, W, 3), RGB.

    Raises:
        RefusedError: It is too large (413), or no image or an animation (422).
    """
    if len(content) > limits.image_bytes:
        raise RefusedError(
            413, f'{name} has {len(content):,} bytes, {limits.image_bytes:,} are allowed'
        )
    if not content:
        raise RefusedError(422, f'{name} is empty')
    _check_pixels(content, name, limits.pixels)
    try:
        with open_image(bytearray(content)) as image:
            is_animated = is_animation(image)
        pixels = decode_image(bytearray(content))
    except Exception as error:  # decoders raise SyntaxError, struct.error, OSError and others
        raise RefusedError(422, f'{name} cannot be decoded: it is damaged or cut off') from error
    if is_animated:
        raise RefusedError(422, f'{name} is an animation: send the frame that is meant')
    return pixels


def _check_pixels(content: bytes | bytearray, name: str, limit: int) -> None:
    """Read the header of an image.

    Raises:
        RefusedError: It has too many pixels (413), or none that can be read (422).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            with open_image(bytearray(content)) as image:
                width, height = image.size
    except Image.DecompressionBombError as error:
        raise RefusedError(413, f'{name} has more than {limit:,} pixels') from error
    except Exception as error:
        raise RefusedError(
            422, f'{name} is no image: JPEG, PNG, BMP, WEBP, TIFF and GIF are taken'
        ) from error
    if width * height > limit:
        raise RefusedError(
            413, f'{name} has {width} x {height} pixels, {limit:,} are allowed: scale it down'
        )


def encode_jpeg(pixels: np.ndarray) -> bytes:
    """Encode an image.

    Args:
        pixels: uint8 of shape (H, W, 3), RGB.

    Returns:
        A JPEG file.

    Example:
        >>> encode_jpeg(np.zeros((2, 2, 3), np.uint8))[:2].hex()
        'ffd8'
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'JPEG', quality=QUALITY)
    return file.getvalue()


def make_thumbnail(path: str | Path, size: int, pixels: int) -> bytes:
    """Read an image of the gallery and scale it down.

    Whatever the file is, what comes out is a JPEG of its pixels.

    Args:
        path: The image file.
        size: Largest width and height.
        pixels: How many the file may have.

    Returns:
        A JPEG file.

    Raises:
        RefusedError: There is no such image file (404), or it is too large (413). The message does
            not name it.
    """
    try:
        content = read_regular(str(path))
    except (OSError, ValueError) as error:
        raise RefusedError(404, 'the file of this image is missing') from error
    _check_pixels(content, 'the file of this image', pixels)
    try:
        with open_image(content) as image:
            # A JPEG is decoded at a fraction of its size.
            image.draft('RGB', (2 * size, 2 * size))
            image = ImageOps.exif_transpose(image)
            image = image.convert('RGB')
    except Exception as error:
        raise RefusedError(404, 'the file of this image cannot be decoded') from error
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return encode_jpeg(np.asarray(image))
