"""Features of the people in frames, as trackers need them: none may stop a tracker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fusionreid.apis import FeatureExtractor, ReIDInferencer
from fusionreid.apis.image_input import Image, box_corners, cut_boxes
from fusionreid.errors import InferenceError


class FrameEncoder:
    """Turns frames with boxes into features, in one forward pass for all that is given at once.

    A tracker asks for a feature of each box, come what may. A box beyond the edges of its frame is
    clipped; one that has no pixel in it, because it lies outside or its sides are crossed or equal,
    stands for the nearest pixel of the frame. :class:`~fusionreid.apis.ReIDInferencer` refuses such
    boxes.

    Args:
        model: The model.
        camera_id: Camera of all frames, a 0-based number or a name, for a model with SIE.

    Example:
        >>> inferencer = ReIDInferencer('color_histogram_synthetic', device='cpu')
        >>> encoder = FrameEncoder(inferencer)
        >>> frame = np.full((90, 160, 3), 200, np.uint8)
        >>> outside, none = [[-50, -50, -10, -10]], []
        >>> [rows.shape for rows in encoder.encode_frames([frame, frame], [outside, none])]
        [(1, 3072), (0, 3072)]
    """

    def __init__(
        self,
        model: ReIDInferencer | FeatureExtractor,
        camera_id: int | str | None = None,
    ) -> None:
        self.extractor = model.extractor if isinstance(model, ReIDInferencer) else model
        self.camera_id = camera_id

    @property
    def embedding_dim(self) -> int:
        """Width of the features."""
        return self.extractor.spec.width

    def encode_frames(
        self, frames: Sequence[np.ndarray], boxes: Sequence[Any], channel_order: str = 'bgr'
    ) -> list[np.ndarray]:
        """Compute the features of the people in frames.

        Args:
            frames: uint8 arrays (H, W, 3).
            boxes: Boxes (N, 4) of each frame: left, top, right and bottom in pixels. There may be
                none; tensors may lie on any device.
            channel_order: ``'bgr'`` (as OpenCV reads) or ``'rgb'``.

        Returns:
            For each frame float32 of shape (N, D), L2-normalized.

        Raises:
            InferenceError: A box is not finite, something is no frame, or there are not as many
                lists of boxes as frames.
        """
        if len(frames) != len(boxes):
            raise InferenceError(f'got {len(frames)} frames but boxes of {len(boxes)}')
        cut = [
            cut_boxes(frame, _touching(frame, own), number)
            for number, (frame, own) in enumerate(zip(frames, boxes, strict=True))
        ]
        rows = self.encode_images([crop for crops in cut for crop in crops], channel_order)
        ends = np.cumsum([len(crops) for crops in cut])
        return np.split(rows, ends[:-1]) if cut else []

    def encode_images(self, images: Sequence[Image], channel_order: str = 'bgr') -> np.ndarray:
        """Compute the features of images of people in one forward pass.

        Args:
            images: As :class:`~fusionreid.apis.ReIDInferencer` takes them.
            channel_order: ``'bgr'`` or ``'rgb'``, for arrays.

        Returns:
            float32 of shape (N, D), L2-normalized.
        """
        cameras = None if self.camera_id is None else [self.camera_id] * len(images)
        parts = [self.extractor.select([])]
        for batch in self.extractor.prepare(images, cameras, channel_order, max(1, len(images))):
            parts.append(self.extractor.select(self.extractor.predict(batch, images)))
        return torch.cat(parts).cpu().numpy()


def _touching(frame: Any, boxes: Any) -> np.ndarray:
    """Boxes that have a pixel in their frame: those that have none are moved to the nearest."""
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or 0 in frame.shape:
        shape = getattr(frame, 'shape', type(frame).__name__)
        raise InferenceError(f'a frame must be a uint8 array of shape (H, W, 3), got {shape}')
    corners = box_corners(boxes)
    if not np.isfinite(corners).all():
        return corners  # refused where it is cut
    height, width = frame.shape[:2]
    ends = np.rint(corners.clip(0, [width, height] * 2))
    for low, size in ((0, width), (1, height)):
        is_empty = ends[:, low + 2] <= ends[:, low]
        ends[is_empty, low] = ends[is_empty, low].clip(0, size - 1)
        ends[is_empty, low + 2] = ends[is_empty, low] + 1
    return ends
