"""A simple tracker: boxes of following frames that overlap are one person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torchvision.ops import box_iou

from fusionreid.errors import ConfigError


@dataclass
class _Track:
    number: int
    box: np.ndarray
    speed: np.ndarray  # pixels a frame, of the box's center
    frame: int

    def expect(self, frame: int) -> np.ndarray:
        """Where the box is if it goes on as it did."""
        return self.box + np.tile(self.speed * (frame - self.frame), 2)


class IoUTracker:
    """Joins boxes to tracks by their overlap with where a track goes on at its speed.

    The pair with the largest overlap is joined first. It takes no features, so that a track breaks
    where somebody is hidden for long, and two who cross may be exchanged.

    Args:
        min_iou: Least overlap (intersection over union), above 0, at most 1.
        max_gap: Frames that a track may be without a box, 0 or more.

    Raises:
        ConfigError: A value is out of range.

    Example:
        >>> tracker = IoUTracker()
        >>> tracker.update([[0, 0, 10, 20], [50, 0, 60, 20]], frame=0).tolist()
        [1, 2]
        >>> tracker.update([[51, 0, 61, 20], [90, 0, 99, 20]], frame=1).tolist()
        [2, 3]
    """

    def __init__(self, min_iou: float = 0.3, max_gap: int = 10) -> None:
        if not 0 < min_iou <= 1:
            raise ConfigError(f'min_iou must be above 0 and at most 1, got {min_iou}')
        if max_gap < 0:
            raise ConfigError(f'max_gap must be 0 or more, got {max_gap}')
        self.min_iou, self.max_gap = min_iou, max_gap
        self._tracks: list[_Track] = []
        self._count = 0

    def update(self, boxes: object, frame: int) -> np.ndarray:
        """Take the boxes of the next frame.

        Args:
            boxes: (N, 4) numbers: left, top, right and bottom in pixels.
            frame: Its number, larger than that of the one before.

        Returns:
            The number of the track of each box (N,) int64, from 1.
        """
        corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        self._tracks = [track for track in self._tracks if frame - track.frame <= self.max_gap + 1]
        numbers = np.zeros(len(corners), dtype=np.int64)
        for position, row in self._pairs(corners, frame):
            track = self._tracks[position]
            center, before = _center(corners[row]), _center(track.box)
            moved = (center - before) / (frame - track.frame)
            track.speed = 0.7 * track.speed + 0.3 * moved
            track.box, track.frame = corners[row], frame
            numbers[row] = track.number
        for row in np.flatnonzero(numbers == 0).tolist():
            self._count += 1
            numbers[row] = self._count
            self._tracks.append(_Track(self._count, corners[row], np.zeros(2), frame))
        return numbers

    def _pairs(self, corners: np.ndarray, frame: int) -> list[tuple[int, int]]:
        """Tracks and boxes that belong together, the surest first."""
        if not self._tracks or not len(corners):
            return []
        expected = np.stack([track.expect(frame) for track in self._tracks])
        overlaps = box_iou(torch.from_numpy(expected), torch.from_numpy(corners)).numpy()
        pairs = []
        while overlaps.max() >= self.min_iou:
            position, row = divmod(int(overlaps.argmax()), overlaps.shape[1])
            pairs.append((position, row))
            overlaps[position], overlaps[:, row] = -1, -1
        return pairs


def _center(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2
