"""What an image file is: whether it can be decoded, what is odd about it, and its checksums."""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image

from fusionreid.datasets.files import read_regular
from fusionreid.datasets.image_listing import why_not_regular
from fusionreid.datasets.transforms.loading import decode_image, open_image

TINY_SIDE = 16  # pixels
# Height by width; people who stand are from 1.5 to 4.
FLATTEST, NARROWEST = 0.5, 8.0
_ORIENTATION = 0x0112
_FORMAT_OF = {
    '.jpg': 'JPEG',
    '.jpeg': 'JPEG',
    '.png': 'PNG',
    '.bmp': 'BMP',
    '.webp': 'WEBP',
    '.tif': 'TIFF',
    '.tiff': 'TIFF',
}


class ImageFacts(NamedTuple):
    """What is known of an image file.

    Attributes:
        findings: Kind and detail of each finding.
        content: Checksum of the file's bytes; empty if they cannot be read.
        pixels: Checksum of the decoded RGB image; empty if it cannot be decoded.
    """

    findings: tuple[tuple[str, str], ...] = ()
    content: bytes = b''
    pixels: bytes = b''


def inspect_image(path: str) -> ImageFacts:
    """Read an image, decode it as training does, and note what is odd about it.

    Nothing but a regular file is opened, and no file raises an exception.

    Args:
        path: The image file.

    Returns:
        What is known of it.
    """
    problem = why_not_regular(path)
    if problem is not None:
        is_there = problem == 'missing' or problem.endswith('nowhere')
        return ImageFacts(((('missing file' if is_there else 'not a regular file'), problem),))
    try:
        content = read_regular(path)
    except (OSError, ValueError) as error:
        return ImageFacts((('cannot be decoded', f'the file cannot be read: {error}'),))
    if not content:
        return ImageFacts((('empty file', 'it has 0 bytes'),))
    checksum = hashlib.blake2b(content, digest_size=16).digest()
    try:
        with warnings.catch_warnings():
            # Of Pillow about large images and odd metadata; what cannot be decoded is an error.
            warnings.simplefilter('ignore')
            pixels = np.ascontiguousarray(decode_image(content))
            findings = _describe(content, path)
    except Exception as error:  # decoders raise SyntaxError, struct.error, MemoryError and others
        return ImageFacts((('cannot be decoded', _one_line(error)),), checksum)
    height, width = pixels.shape[:2]
    if min(height, width) < TINY_SIDE:
        findings.append(('tiny', f'{height}x{width} pixels (height x width)'))
    if not FLATTEST <= height / width <= NARROWEST:
        findings.append(('extreme shape', f'{height}x{width} pixels (height x width)'))
    digest = hashlib.blake2b(f'{height}x{width}'.encode(), digest_size=16)
    digest.update(pixels.data)
    return ImageFacts(tuple(findings), checksum, digest.digest())


def _one_line(error: Exception) -> str:
    text = ' '.join(str(error).split())
    # Pillow names the object in memory instead of the file.
    if type(error).__name__ == 'UnidentifiedImageError':
        return 'it is no image of a kind that is read'
    return f'{type(error).__name__}: {text}' if text else type(error).__name__


def _describe(content: bytearray, path: str) -> list[tuple[str, str]]:
    findings = []
    with open_image(content) as image:
        mode, kind = image.mode, str(image.format)
        if mode in ('1', 'L', 'LA', 'La') or mode.startswith('I;16'):
            findings.append(('grayscale', f'mode {mode}'))
        if mode == 'CMYK':
            findings.append(('CMYK', f'mode {mode}'))
        if mode == 'P':
            findings.append(('palette', f'mode {mode}'))
        if mode in ('LA', 'La', 'PA', 'RGBA', 'RGBa') or 'transparency' in image.info:
            findings.append(('transparency', f'mode {mode}; it is dropped'))
        if (orientation := _orientation(image)) > 1:
            findings.append(('turned by EXIF', f'orientation {orientation}; it is applied'))
        if getattr(image, 'n_frames', 1) > 1:
            findings.append(('several frames', 'the first one is taken'))
    extension = os.path.splitext(path)[1].lower()
    if _FORMAT_OF.get(extension, kind) != kind:
        findings.append(('name of another format', f'it is a {kind} file'))
    return findings


def _orientation(image: Image.Image) -> int:
    # Broken EXIF says nothing about the pixels.
    with contextlib.suppress(Exception):
        return int(image.getexif().get(_ORIENTATION, 1))
    return 1
