"""Files beside an index of videos: of each video a folder with its tracklets as pictures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fusionreid.errors import GalleryError
from fusionreid.gallery.address import DatabaseAddress, Place
from fusionreid.utils import manifest as manifests
from fusionreid.utils.feature_files import read_table, write_table
from fusionreid.utils.files import open_atomic
from fusionreid.utils.progress import report_bytes

from .tracklets import Tracklet

TABLE, MANIFEST = 'tracklets.csv', 'tracklets.json'
FORMAT = 'fusionreid-tracklets-1'
ADVICE = 'index the video again into another folder'
COLUMNS: dict[str, type] = dict(
    file=str, strip=str, first_frame=int, last_frame=int, first_ms=int, last_ms=int, boxes=int
)
STRIP_PICTURES, STRIP_HEIGHT, STRIP_WIDTH = 4, 96, 48
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 92]


@dataclass(frozen=True)
class Passage:
    """When somebody passed, and pictures of it.

    Args:
        strip: Image file of some moments side by side.
        first: Seconds from the beginning of the video to the first box.
        last: Seconds to the last one.
    """

    strip: str
    first: float
    last: float

    def is_between(self, first: float | None, last: float | None) -> bool:
        """Whether somebody was seen, for however short, between two times.

        Args:
            first: Seconds from the beginning of the video; None for any time.
            last: The same, not before ``first``.

        Returns:
            True where the passage has a moment in common with them.

        Example:
            >>> passage = Passage('strip.jpg', first=10, last=20)
            >>> [passage.is_between(*times) for times in ((20, None), (None, 9), (12, 13))]
            [True, False, True]
        """
        return (first is None or self.last >= first) and (last is None or self.first <= last)

    def __str__(self) -> str:
        return f'{clock(self.first)} to {clock(self.last)}'


def clock(seconds: float) -> str:
    """A time of a video.

    Args:
        seconds: Seconds from its beginning.

    Returns:
        Hours, minutes and whole seconds.

    Example:
        >>> clock(751.9), clock(36_000)
        ('00:12:31', '10:00:00')
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f'{hours:02d}:{minute:02d}:{second:02d}'


def tracklets_folder(index: Place) -> Path:
    """Absolute path of the folder that holds the pictures of the videos of an index.

    Args:
        index: The index. The folder is beside it; of a table of a database, it is in the current
            folder.
    """
    path = os.path.abspath(index.table if isinstance(index, DatabaseAddress) else index)
    return Path(f'{path}-tracklets')


@dataclass
class PassageWriter:
    """Writes the tracklets of a video.

    Args:
        folder: Where to write.
        fps: Frames of the video in a second.
    """

    folder: Path
    fps: float
    _rows: list[tuple[Any, ...]] = field(default_factory=list, init=False)

    def add(self, tracklet: Tracklet) -> str:
        """Write the pictures of a tracklet; returns the name of the best one's file."""
        assert tracklet.best is not None
        name, strip = f'{tracklet.number:04d}.jpg', f'{tracklet.number:04d}_strip.jpg'
        _write_jpeg(self.folder / name, tracklet.best)
        _write_jpeg(self.folder / strip, _strip_of(tracklet.pictures))
        moments = [round(1000 * frame / self.fps) for frame in (tracklet.first, tracklet.last)]
        frames = (tracklet.first + 1, tracklet.last + 1)
        self._rows.append((name, strip, *frames, *moments, tracklet.count))
        return name

    def finish(self, about: dict[str, Any]) -> None:
        """Write the table, and the manifest with what is said about the video."""
        columns = zip(*self._rows, strict=True) if self._rows else ([] for _ in COLUMNS)
        write_table(self.folder / TABLE, dict(zip(COLUMNS, map(list, columns), strict=True)))
        content = dict(format=FORMAT, **about, files=manifests.record_files(self.folder))
        with open_atomic(self.folder / MANIFEST) as file:
            file.write(manifests.seal(content))


@contextmanager
def new_passages(folder: Path, fps: float) -> Iterator[PassageWriter]:
    """Make a folder of tracklets that appears whole or not at all.

    Args:
        folder: The folder, which must not exist.
        fps: Frames of the video in a second.

    Yields:
        What writes into it; :meth:`PassageWriter.finish` must be called.

    Raises:
        GalleryError: It cannot be written.
    """
    partial = folder.parent / f'.{folder.name}.part'
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield PassageWriter(partial, fps)
        os.replace(partial, folder)
    except OSError as error:
        raise GalleryError(f'{folder} cannot be written: {error}') from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_about(folder: Path) -> dict[str, Any] | None:
    """What a folder of tracklets says about its video; None where there is no such folder.

    Raises:
        GalleryError: It is damaged.
    """
    try:
        content = manifests.read_manifest(folder / MANIFEST, FORMAT, GalleryError, ADVICE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    manifests.recorded_size(content, folder / MANIFEST, GalleryError)
    return content


def verify_passages(folder: Path) -> dict[str, Any] | None:
    """Compare every file of a folder of tracklets with its manifest.

    Args:
        folder: Any folder.

    Returns:
        The manifest; None if it is not one of tracklets.

    Raises:
        GalleryError: A file is missing, changed or strange.
    """
    content = read_about(folder)
    if content is not None:
        files = content[manifests.FILES]
        total = sum(record['size'] for record in files.values())
        report = report_bytes(f'verifying {folder}', total)
        whole = {
            **content,
            manifests.FILES: {**files, **manifests.record_files(folder, [MANIFEST])},
        }
        manifests.verify_files(folder, whole, GalleryError, ADVICE, report, is_alone=True)
    return content


def read_passages(folder: Path) -> dict[str, Passage]:
    """Read the tracklets of a video.

    Args:
        folder: Any folder.

    Returns:
        Passages by the absolute path of their best picture; none if it is not one of tracklets.

    Raises:
        GalleryError: The table is damaged.
    """
    content = read_about(folder)
    if content is None:
        return {}
    files = content[manifests.FILES]
    if TABLE not in files:
        raise GalleryError(f'{folder / MANIFEST} is damaged: it names no {TABLE}: {ADVICE}')
    table = {TABLE: files[TABLE]}
    manifests.verify_files(
        folder, {manifests.FILES: table}, GalleryError, ADVICE, lambda amount: None
    )
    columns = read_table(folder / TABLE, COLUMNS, GalleryError)
    if strange := set(columns['file'] + columns['strip']) - set(files):
        raise GalleryError(f'{folder / TABLE} names {min(strange)!r}, which is none of its files')
    rows = zip(*(columns[name] for name in ('file', 'strip', 'first_ms', 'last_ms')), strict=True)
    return {
        str(folder / file): Passage(str(folder / strip), first / 1000, last / 1000)
        for file, strip, first, last in rows
    }


def find_passages(paths: Iterable[str | Path]) -> dict[str, Passage]:
    """Find the passages of those images that are of tracklets.

    Args:
        paths: Image files, of any kind.

    Returns:
        Passages by path.

    Raises:
        GalleryError: A table is damaged.
    """
    wanted = {str(path) for path in paths if path}
    found: dict[str, Passage] = {}
    for folder in {Path(path).parent for path in wanted}:
        found.update(read_passages(folder))
    return {path: passage for path, passage in found.items() if path in wanted}


def _strip_of(pictures: list[np.ndarray]) -> np.ndarray:
    """Some pictures side by side, each whole on a gray mat."""
    chosen = np.unique(np.linspace(0, len(pictures) - 1, STRIP_PICTURES).round().astype(int))
    strip = np.full((STRIP_HEIGHT, STRIP_WIDTH * STRIP_PICTURES, 3), 236, np.uint8)
    for place, number in enumerate(chosen):
        picture = pictures[number]
        scale = min(STRIP_HEIGHT / picture.shape[0], (STRIP_WIDTH - 2) / picture.shape[1])
        width, height = (max(1, round(scale * picture.shape[axis])) for axis in (1, 0))
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        left = place * STRIP_WIDTH + (STRIP_WIDTH - width) // 2
        top = (STRIP_HEIGHT - height) // 2
        strip[top : top + height, left : left + width] = small
    return strip


def _write_jpeg(path: Path, picture: np.ndarray) -> None:
    _, content = cv2.imencode('.jpg', picture, JPEG)
    path.write_bytes(content.tobytes())
