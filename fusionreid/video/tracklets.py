"""Passages of people through a video: when, and some pictures of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from fusionreid.errors import ConfigError
from fusionreid.trackers import IoUTracker

from .box_file import UNTRACKED, Boxes
from .frames import VideoReader

# Pictures that a tracklet keeps, spread over its time; twice as many are there meanwhile.
KEPT_PICTURES = 8
MAX_HEIGHT = 512

Detect = Callable[[int, np.ndarray], Boxes]


@dataclass
class Tracklet:
    """A passage of a person.

    Attributes:
        number: Number of the tracklet in its video, from 1.
        first: 0-based first frame.
        last: 0-based last frame.
        count: Boxes in between.
        pictures: Some of them, BGR uint8, in the order of time.
        best: The best of all: the largest of those that are sure and lie inside of the frame.
    """

    number: int
    first: int
    last: int = -1
    count: int = 0
    pictures: list[np.ndarray] = field(default_factory=list)
    best: np.ndarray | None = None
    _quality: float = field(default=-1.0, init=False, repr=False)
    _step: int = field(default=1, init=False, repr=False)

    def add(self, frame: int, image: np.ndarray, box: np.ndarray, score: float) -> None:
        """Take the next box.

        Args:
            frame: Number of the frame.
            image: The frame, BGR uint8 (H, W, 3).
            box: Left, top, right and bottom: integers inside of the frame.
            score: How sure it is.
        """
        left, top, right, bottom = box.tolist()
        crop = image[top:bottom, left:right]
        height, width = image.shape[:2]
        touches = left <= 1 or top <= 1 or right >= width - 1 or bottom >= height - 1
        quality = score * np.sqrt(crop.shape[0] * crop.shape[1]) * (0.5 if touches else 1.0)
        is_best, is_kept = quality > self._quality, self.count % self._step == 0
        if is_best or is_kept:
            crop = _shrink(crop)
        if is_best:
            self._quality, self.best = float(quality), crop
        if is_kept:
            self.pictures.append(crop)
            if len(self.pictures) == 2 * KEPT_PICTURES:
                del self.pictures[1::2]
                self._step *= 2
        self.last = frame
        self.count += 1


@dataclass
class Seen:
    """How much of a video was seen.

    Attributes:
        frames: Frames that were decoded.
        boxes: Boxes that were sure enough and had a pixel in their frame.
        outside: Boxes that had none.
        short: Tracklets that are left out because they had too few boxes.
    """

    frames: int = 0
    boxes: int = 0
    outside: int = 0
    short: int = 0


@dataclass(frozen=True)
class TrackletSettings:
    """How boxes become tracklets.

    Args:
        min_score: Boxes less sure than this are left out.
        min_boxes: Tracklets with fewer boxes are left out, at least 1.
        min_iou: Least overlap of boxes in following frames, for boxes that nobody tracked.
        max_gap: Seconds without a box after which a tracklet is over.
        every: Only each of so many frames is looked at, at least 1.
    """

    min_score: float = 0.5
    min_boxes: int = 5
    min_iou: float = 0.3
    max_gap: float = 1.0
    every: int = 1

    def check(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If one is out of range.
        """
        for name in ('min_boxes', 'every'):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f'{name} must be at least 1, got {value}')
        if not 0 < self.min_iou <= 1:
            raise ConfigError(f'min_iou must be above 0 and at most 1, got {self.min_iou}')
        if not 0 <= self.max_gap < math.inf:
            raise ConfigError(f'max_gap must be 0 seconds or more, got {self.max_gap}')
        if not math.isfinite(self.min_score):
            raise ConfigError(f'min_score must be a number, got {self.min_score}')


def find_tracklets(
    video: VideoReader,
    detect: Detect,
    settings: TrackletSettings,
    seen: Seen,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Tracklet]:
    """Find who passes through a video.

    Boxes of one track, as another tracker has numbered them, stay together; the others are joined
    by overlap. A tracklet is given as soon as it is over, so that few are in memory.

    Args:
        video: The video, at its beginning.
        detect: Finds people: is given the 0-based number of a frame and the frame, BGR uint8.
        settings: How boxes become tracklets.
        seen: Counts what was seen.
        progress: Is told how many frames are done.

    Yields:
        The tracklets, in the order in which they are over.
    """
    max_gap = max(settings.every, round(settings.max_gap * video.fps))
    tracker = IoUTracker(settings.min_iou, max_gap)
    # By whether it is a track of ours, and its number.
    going: dict[tuple[bool, int], Tracklet] = {}
    count = 0

    def close(frame: float) -> Iterator[Tracklet]:
        nonlocal count
        for key in [key for key, one in going.items() if frame - one.last > max_gap + 1]:
            tracklet = going.pop(key)
            if tracklet.count < settings.min_boxes:
                seen.short += 1
                continue
            count += 1
            tracklet.number = count
            yield tracklet

    for frame, image in video.frames():
        seen.frames += 1
        if frame % settings.every == 0:
            boxes = detect(frame, image)
            boxes = boxes.take(boxes.scores >= settings.min_score)
            corners, has_pixels = _inside(boxes.corners, image)
            seen.outside += int((~has_pixels).sum())
            boxes, corners = boxes.take(has_pixels), corners[has_pixels]
            seen.boxes += len(boxes)
            is_ours = boxes.tracks == UNTRACKED
            tracks = boxes.tracks.copy()
            tracks[is_ours] = tracker.update(boxes.corners[is_ours], frame)
            yield from close(frame)
            for row, box in enumerate(corners):
                key = (bool(is_ours[row]), int(tracks[row]))
                tracklet = going.setdefault(key, Tracklet(0, frame))
                tracklet.add(frame, image, box, float(boxes.scores[row]))
        if progress:
            progress(frame + 1)
    yield from close(math.inf)


def _inside(corners: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes clipped to whole pixels of the frame (N, 4), and which of them have any (N,)."""
    height, width = image.shape[:2]
    clipped = np.rint(corners.clip(0, [width, height] * 2)).astype(int)
    return clipped, (clipped[:, 0] < clipped[:, 2]) & (clipped[:, 1] < clipped[:, 3])


def _shrink(crop: np.ndarray) -> np.ndarray:
    """A copy, not larger than any model needs."""
    height, width = crop.shape[:2]
    if height <= MAX_HEIGHT:
        return crop.copy()
    size = (max(1, round(width * MAX_HEIGHT / height)), MAX_HEIGHT)
    return cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
