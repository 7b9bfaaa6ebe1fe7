"""When videos began, as somebody says it: files do not tell it reliably."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from fusionreid.errors import GalleryError
from fusionreid.gallery.times import TIME, time_of


def read_starts(texts: Iterable[str], videos: Sequence[Path]) -> dict[Path, datetime]:
    """Read when videos began.

    Args:
        texts: A time for all of them, such as ``2026-11-27T18:30:00+01:00`` (of UTC where it names
            no zone), or ``VIDEO=TIME`` for each, by the name of its file, with its suffix or
            without.
        videos: The videos.

    Returns:
        Times by video; those that nothing is said about are left out.

    Raises:
        GalleryError: If a time is none, a name is that of no video, or one is given twice.

    Example:
        >>> starts = read_starts(['a=2026-11-27T18:30'], [Path('a.mp4'), Path('b.mp4')])
        >>> {video.name: start.isoformat() for video, start in starts.items()}
        {'a.mp4': '2026-11-27T18:30:00+00:00'}
    """
    starts: dict[Path, datetime] = {}
    for text in texts:
        name, sign, time = text.rpartition('=')
        chosen = [video for video in videos if not sign or name in (video.name, video.stem)]
        if not chosen:
            raise GalleryError(
                f'--started {text}: there is no video {name!r}; the first one is {videos[0].name}'
            )
        if known := starts.keys() & chosen:
            raise GalleryError(f'--started says twice when {min(known).name} began: say it once')
        moment = time_of({TIME: time}, f'--started {text}')
        assert moment is not None
        starts.update(dict.fromkeys(chosen, moment))
    return starts
