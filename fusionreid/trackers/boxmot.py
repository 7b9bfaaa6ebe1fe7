"""Features for the trackers of BoxMOT (AGPL), which is never imported unless its user has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fusionreid.errors import InferenceError
from fusionreid.utils.optional import import_optional

from .frame_encoder import FrameEncoder


class BoxMotEncoder(FrameEncoder):
    """What BoxMOT 25 takes as ``reid_model=`` of a tracker, or as an appearance encoder.

    ``BotSort(reid_model=BoxMotEncoder(inferencer))`` needs only :meth:`get_features`;
    :meth:`encode` is the protocol ``boxmot.reid.AppearanceEncoder``.

    Args:
        model: The model.
        camera_id: Camera of all frames, a 0-based number or a name, for a model with SIE.
    """

    @property
    def requirements(self) -> Any:
        """What BoxMOT must find besides boxes: nothing."""
        protocols = import_optional('boxmot.reid.protocols', 'boxmot', 'encode', InferenceError)
        return protocols.EncoderRequirements(masks=False)

    def get_features(self, boxes: Any, image: np.ndarray) -> np.ndarray:
        """Compute the features of the boxes of a frame.

        Args:
            boxes: (N, 4): left, top, right and bottom in pixels.
            image: BGR, uint8, (H, W, 3).

        Returns:
            float32 of shape (N, D), L2-normalized.
        """
        return self.encode_frames([image], [boxes])[0]

    def encode(self, frames: Sequence[Any], detections: Sequence[Any]) -> list[torch.Tensor]:
        """Compute the features of several frames in one forward pass.

        Args:
            frames: Frames of BoxMOT; their ``image`` is RGB, uint8, (3, H, W).
            detections: Their detections, with upright boxes as ``geometry.values``.

        Returns:
            For each frame float32 of shape (N, D), L2-normalized, on the CPU.
        """
        rows = self.encode_frames(
            [frame.image.permute(1, 2, 0).numpy() for frame in frames],
            [found.geometry.values for found in detections],
            'rgb',
        )
        return [torch.from_numpy(row.copy()) for row in rows]
