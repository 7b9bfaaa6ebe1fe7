"""Puts the passages of videos into a gallery, a video at a time."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fusionreid.apis import FeatureExtractor
from fusionreid.errors import GalleryError, ImageDecodeError
from fusionreid.gallery import Gallery
from fusionreid.gallery.address import Place
from fusionreid.gallery.names import Label, clean_name
from fusionreid.gallery.times import TIME
from fusionreid.utils.names import is_number, tidy_name

from .frames import VideoReader
from .passage_folder import new_passages, read_about, read_passages, tracklets_folder
from .tracklets import Detect, Seen, TrackletSettings, find_tracklets


@dataclass(frozen=True)
class VideoReport:
    """What came of a video.

    Attributes:
        line: What there is to say.
        failed: Whether it could not be read.
    """

    line: str
    failed: bool = False


def camera_of_video(video: Path) -> Label:
    """The camera that a video is of: the name of its file, or its number from 0.

    Args:
        video: The file.

    Returns:
        The name; if that is a number from 1 on, the number that is one less.

    Example:
        >>> camera_of_video(Path('north door.mp4')), camera_of_video(Path('3.mp4'))
        ('north door', 2)
    """
    name = tidy_name(video.stem)
    if not is_number(name):
        return clean_name(name)
    return int(name) - 1 if name.isdecimal() and int(name) > 0 else clean_name(f'video {name}')


def check_names(videos: Sequence[Path]) -> None:
    """Check that each video names a camera of its own.

    Raises:
        GalleryError: If two do not.
    """
    named: dict[Label, list[Path]] = defaultdict(list)
    for video in videos:
        named[camera_of_video(video)].append(video)
    for same in named.values():
        if len(same) > 1:
            raise GalleryError(
                f'{same[0].name} and {same[1].name} would be one camera, as a video is named by '
                f'its file: rename one'
            )


class VideoIndexer:
    """Adds videos to a gallery and saves it after each.

    Args:
        gallery: The gallery, with a model.
        index: Its folder or table. The pictures go to a folder beside it.
        settings: How boxes become tracklets.
    """

    def __init__(self, gallery: Gallery, index: Place, settings: TrackletSettings) -> None:
        self.gallery = gallery
        self.index = index
        self.settings = settings

    def add(
        self,
        video: Path,
        detect: Detect,
        made_by: dict[str, Any],
        progress: Callable[[int, int], None] | None = None,
        start: datetime | None = None,
    ) -> VideoReport:
        """Add the passages of a video, unless they are there.

        Args:
            video: The file.
            detect: Finds people in its frames.
            made_by: What found them, to tell whether that is the same another time.
            progress: Is told the frames done and to do.
            start: When the video began, with a time zone. The metadata of a passage then has the
                time of its last box.

        Returns:
            What to say about it.

        Raises:
            GalleryError: It is in the index with other settings, or the folder cannot be written.
        """
        folder = tracklets_folder(self.index) / video.stem
        about = dict(
            video=video.name, bytes=video.stat().st_size, **asdict(self.settings), **made_by
        )
        if start is not None:
            about['start'] = start.isoformat()
        if (before := read_about(folder)) is not None:
            paths = read_passages(folder)
            known = self.gallery.known(paths)
            # Some may have been removed since.
            if known or not paths:
                other = [name for name, value in about.items() if before.get(name) != value]
                if other and paths:
                    raise GalleryError(
                        f'{video.name} is in {self.index}, made with another '
                        f'{" and another ".join(other)}: make another index'
                    )
                if not other:
                    removed = (
                        f', {len(paths) - len(known)} removed' if len(known) < len(paths) else ''
                    )
                    return VideoReport(f'is in the index, {len(known)} passages{removed}')
        # A video without anybody, or what an interruption between two steps has left.
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with VideoReader(video) as reader:
                return self._add(reader, folder, detect, about, progress, start)
        except ImageDecodeError as error:
            return VideoReport(str(error), failed=True)

    def _add(
        self,
        reader: VideoReader,
        folder: Path,
        detect: Detect,
        about: dict[str, Any],
        progress: Callable[[int, int], None] | None,
        start: datetime | None,
    ) -> VideoReport:
        seen, camera = Seen(), camera_of_video(reader.path)
        names: list[str] = []
        rows: list[Tensor] = []
        times: list[dict[str, datetime]] = []

        def show(done: int) -> None:
            if progress:
                progress(done, reader.frame_count)

        with new_passages(folder, reader.fps) as writer:
            for tracklet in find_tracklets(reader, detect, self.settings, seen, show):
                rows.append(mean_feature(self.gallery.extractor, tracklet.pictures, camera))
                names.append(writer.add(tracklet))
                if start is not None:
                    times.append({TIME: start + timedelta(seconds=tracklet.last / reader.fps)})
            if not seen.frames:
                raise ImageDecodeError(
                    f'{reader.path} cannot be read: no frame of it can be decoded'
                )
            writer.finish(dict(about, fps=reader.fps, frames=seen.frames, broken=reader.broken))
        if rows:
            paths = [str(folder / name) for name in names]
            self.gallery.add(
                features=torch.stack(rows),
                ids=paths,
                paths=paths,
                camera_ids=[camera] * len(rows),
                metadata=times or None,
            )
            self.gallery.save(self.index)
        return VideoReport(_describe(reader, seen, len(rows)))


def mean_feature(extractor: FeatureExtractor, pictures: Sequence[Any], camera: Label) -> Tensor:
    """Average the features of some pictures of a person.

    Args:
        extractor: The model.
        pictures: BGR, uint8, (H, W, 3).
        camera: Their camera.

    Returns:
        (D,) float32, L2-normalized, on the CPU.
    """
    features = extractor.extract(pictures, [camera] * len(pictures), 'bgr')
    return F.normalize(features.mean(dim=0), dim=0).cpu()


def _describe(reader: VideoReader, seen: Seen, passages: int) -> str:
    parts = [
        f'{seen.frames} frames, {seen.boxes} boxes, '
        + (f'{passages} passages' if passages else 'nobody found')
    ]
    if seen.short:
        parts.append(f'{seen.short} too short')
    if seen.outside:
        parts.append(f'{seen.outside} boxes outside of the frame')
    if reader.broken:
        parts.append(f'{reader.broken} broken frames')
    if not reader.has_fps:
        parts.append(f'it does not say its frame rate, taken as {reader.fps:g}')
    return '; '.join(parts)
