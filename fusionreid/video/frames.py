"""Frames of video files, one after the other, whatever is broken in between."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from fusionreid.errors import DatasetNotFoundError, ImageDecodeError

EXTENSIONS = ('.mp4', '.avi', '.mkv', '.mov', '.m4v', '.webm', '.mpg', '.mpeg', '.wmv', '.ts')
# A video that says more frames than it has is over after so many in a row that are not there.
MAX_BROKEN_RUN = 10_000
ASSUMED_FPS = 25.0


def list_videos(source: str | Path) -> list[Path]:
    """List video files.

    Args:
        source: A video, or a folder of videos; folders below it are not looked at.

    Returns:
        Absolute paths, sorted.

    Raises:
        DatasetNotFoundError: There is no such file, or no video in the folder.
    """
    path = Path(os.path.abspath(source))
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DatasetNotFoundError(f'there is no video or folder {str(source)!r}')
    videos = sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in EXTENSIONS and file.is_file() and not file.name.startswith('.')
    )
    if not videos:
        raise DatasetNotFoundError(
            f'there is no video in {source} (looked for {", ".join(EXTENSIONS)})'
        )
    return videos


class VideoReader:
    """Reads a video from its first frame to its last; to be used with ``with``.

    Its ``fps`` are 25 where the file does not say them (``has_fps``), its ``frame_count`` is what
    the file says, and ``broken`` counts the frames so far that could not be decoded.

    Args:
        path: The file.

    Raises:
        ImageDecodeError: The file is no video that OpenCV can read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            is_empty = self.path.is_file() and not self.path.stat().st_size
            reason = 'the file is empty' if is_empty else 'it is no video that OpenCV can read'
            raise ImageDecodeError(f'{path} cannot be read: {reason}')
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.has_fps = math.isfinite(fps) and 0 < fps < 1000
        self.fps = fps if self.has_fps else ASSUMED_FPS
        self.frame_count = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.broken = 0

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def frames(self) -> Iterator[tuple[int, np.ndarray]]:
        """Decode the frames.

        A frame that cannot be decoded is counted in :attr:`broken` and left out.

        Yields:
            The 0-based number and the frame, BGR uint8 (H, W, 3).
        """
        number, missing = 0, 0
        while missing <= MAX_BROKEN_RUN:
            is_there, frame = self._capture.read()
            if is_there and frame is not None and frame.size:
                self.broken += missing
                number, missing = number + missing, 0
                yield number, frame
                number += 1
                continue
            missing += 1
            # What is missing at the end is broken only if the file says that there is more.
            if number + missing > self.frame_count:
                missing -= 1
                break
        self.broken += missing
