"""What may be given as an image, and how it becomes a path or RGB pixels, for a pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from fusionreid.datasets.transforms import pillow_to_rgb, read_image
from fusionreid.errors import ImageDecodeError, InferenceError

Image = str | Path | np.ndarray | PillowImage.Image
CHANNEL_ORDERS = ('rgb', 'bgr')
CHANNELS = (1, 3, 4)
# One PIL image may be given twice, and two threads must not load it at once.
_LOADING = Lock()
ACCEPTED = (
    'a path, a uint8 array of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or a PIL image'
)


def image_name(image: Image, number: int) -> str:
    """Name an image for a message.

    Args:
        image: The image.
        number: Its position in what was given.

    Returns:
        Its path, or its number.

    Example:
        >>> image_name('a.jpg', 0), image_name(np.zeros((2, 2), np.uint8), 3)
        ('a.jpg', 'image 3')
    """
    return str(image) if isinstance(image, (str, Path)) else f'image {number}'


def check_image(image: Any, number: int) -> None:
    """Check what was given as an image, without decoding it.

    Args:
        image: Anything.
        number: Its position in what was given, for the message.

    Raises:
        InferenceError: It is nothing that can be an image.
    """
    if isinstance(image, (str, Path)):
        return
    if image is None:
        raise InferenceError(
            f'image {number} is None: cv2.imread returns it, without an error, for a file that is '
            'missing or cannot be decoded. Give the path instead'
        )
    if isinstance(image, PillowImage.Image):
        kind, shape, good = f'a PIL image of mode {image.mode}', image.size, 0 not in image.size
    else:
        kind = str(getattr(image, 'dtype', type(image).__name__))
        shape = tuple(getattr(image, 'shape', ()))
        flat = len(shape) == 2 or (len(shape) == 3 and shape[2] in CHANNELS)
        good = isinstance(image, np.ndarray) and image.dtype == np.uint8 and flat and 0 not in shape
    if not good:
        raise InferenceError(f'image {number} is {kind} of shape {shape}, expected {ACCEPTED}')


def check_channel_order(channel_order: str) -> None:
    """Check the order in which arrays hold their colors.

    Args:
        channel_order: ``'rgb'`` or ``'bgr'`` (as OpenCV reads).

    Raises:
        InferenceError: It is another one.
    """
    if channel_order not in CHANNEL_ORDERS:
        raise InferenceError(f'channel_order must be one of {CHANNEL_ORDERS}: {channel_order!r}')


def to_rgb(image: Image, number: int, channel_order: str = 'rgb') -> str | np.ndarray:
    """Turn an image into what a pipeline takes; gray and transparency are treated as in files.

    Args:
        image: A path, an array or a PIL image that :func:`check_image` has passed.
        number: Its position in what was given, for the message.
        channel_order: ``'rgb'`` or ``'bgr'`` (with four channels, BGRA), for arrays.

    Returns:
        The path as text, which the pipeline decodes, or pixels: uint8 of shape (H, W, 3), RGB.

    Raises:
        ImageDecodeError: A PIL image that cannot be decoded.

    Example:
        >>> to_rgb(np.array([[[1, 2, 3]]], np.uint8), 0, 'bgr').tolist()
        [[[3, 2, 1]]]
    """
    if isinstance(image, (str, Path)):
        return str(image)
    if isinstance(image, PillowImage.Image):
        try:
            with _LOADING:
                return pillow_to_rgb(image)
        except Exception as error:  # decoders raise SyntaxError, struct.error, OSError and others
            raise ImageDecodeError(
                f'image {number} cannot be decoded ({type(error).__name__}: {error})'
            ) from error
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    colors = image[..., :3]
    return np.ascontiguousarray(colors if channel_order == 'rgb' else colors[..., ::-1])


@dataclass(frozen=True)
class Input:
    """One of the things that were given, as one image or, of a frame with boxes, several.

    Attributes:
        name: Its file, or its position in what was given.
        images: The images.
        is_frame: Whether they are the boxes of a frame.
    """

    name: str
    images: Sequence[Image]
    is_frame: bool = False


def list_inputs(given: Any) -> list[Any]:
    """List what was given one by one.

    Args:
        given: An image, a ``(frame, boxes)`` pair, an array of images of shape (N, H, W, 3), or
            an iterable of these. A pair is a tuple; its boxes have shape (N, 4).

    Returns:
        The single inputs.

    Example:
        >>> list_inputs('a.jpg'), list_inputs(['a.jpg', 'b.jpg'])
        (['a.jpg'], ['a.jpg', 'b.jpg'])
    """
    one = isinstance(given, (str, Path, PillowImage.Image)) or not isinstance(given, Iterable)
    if one or _is_frame(given) or getattr(given, 'ndim', 4) < 4:
        return [given]
    return list(given)


def as_input(given: Any, number: int, channel_order: str = 'rgb') -> Input:
    """Turn one of the things that were given into images.

    Args:
        given: An image, or a ``(frame, boxes)`` pair: an image and the boxes (N, 4) in it, as
            left, top, right and bottom in pixels. There may be none.
        number: Its position.
        channel_order: ``'rgb'`` or ``'bgr'``, for an array.

    Returns:
        The input; what is cut out of a frame has its channel order, RGB or BGR as told.

    Raises:
        InferenceError: It is no image, or a box has no pixel in the frame.
        ImageDecodeError: A frame that cannot be decoded.
    """
    if not _is_frame(given):
        check_image(given, number)
        return Input(image_name(given, number), [given])
    frame, boxes = given
    check_image(frame, number)
    if isinstance(frame, np.ndarray):
        crops = cut_boxes(frame, boxes, number)
    else:
        given_path = to_rgb(frame, number)
        pixels = read_image(given_path) if isinstance(given_path, str) else given_path
        pixels = pixels if channel_order == 'rgb' else pixels[..., ::-1]
        # Copies, so that not all frames of a video stay in memory.
        crops = [crop.copy() for crop in cut_boxes(pixels, boxes, number)]
    return Input(image_name(frame, number), crops, is_frame=True)


def cut_boxes(frame: np.ndarray, boxes: Any, number: int = 0) -> list[np.ndarray]:
    """Cut boxes out of a frame; what reaches beyond its edges is clipped.

    Args:
        frame: (H, W) or (H, W, C).
        boxes: (N, 4) numbers: left, top, right, bottom in pixels; right and bottom are exclusive.
        number: Position of the frame in what was given, for the message.

    Returns:
        N views of the frame.

    Raises:
        InferenceError: A box is not finite, or has no pixel in the frame.

    Example:
        >>> [crop.shape for crop in cut_boxes(np.zeros((10, 8, 3), np.uint8), [[-3, 2, 4.2, 99]])]
        [(8, 4, 3)]
    """
    height, width = frame.shape[:2]
    corners = box_corners(boxes)
    crops = []
    for position, box in enumerate(corners):
        if np.isfinite(box).all():
            left, top, right, bottom = np.rint(box.clip(0, [width, height] * 2)).astype(int)
            if left < right and top < bottom:
                crops.append(frame[top:bottom, left:right])
                continue
        raise InferenceError(
            f'box {position} of image {number}, {box.tolist()} (left, top, right, bottom), has no '
            f'pixel in its frame of width {width} and height {height}: remove it'
        )
    return crops


def box_corners(boxes: Any) -> np.ndarray:
    """Boxes as numbers.

    Args:
        boxes: (N, 4) numbers, as a sequence, an array, or a tensor on any device.

    Returns:
        (N, 4) float64.
    """
    on_cpu = boxes.cpu() if hasattr(boxes, 'cpu') else boxes
    return np.asarray(on_cpu, dtype=np.float64).reshape(-1, 4)


def _is_frame(given: Any) -> bool:
    """Whether it is a frame with boxes, rather than two images."""
    if not isinstance(given, tuple) or len(given) != 2:
        return False
    boxes = given[1]
    if hasattr(boxes, 'shape'):
        if tuple(boxes.shape) == (0,):  # what NumPy makes of no boxes
            return True
        return len(boxes.shape) == 2 and boxes.shape[1] == 4 and boxes.dtype != np.uint8
    if not isinstance(boxes, (list, tuple)):
        return False
    return all(isinstance(box, (list, tuple, np.ndarray)) and len(box) == 4 for box in boxes)
