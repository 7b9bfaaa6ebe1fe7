"""Deletes items so that nothing of them stays where a gallery is kept, and records that it did."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from fusionreid.errors import GalleryError

from .address import DatabaseAddress, Place, read_place
from .gallery import Gallery
from .versioned_folder import other_generations

AUDIT_FILE = 'deletions.jsonl'


def delete_items(
    gallery: Gallery,
    place: Place,
    ids: Sequence[str],
    reason: str,
    audit: str | Path | None = None,
    erase: bool = True,
) -> Path | None:
    """Remove items, save, see that no earlier state is left, and write a line about it.

    The line says when, who, why, and how many; never whose images they were, nor their files, as
    it is kept when they must not be.

    Args:
        gallery: The gallery, as it was loaded.
        place: Where it was loaded from.
        ids: The items.
        reason: Why, without a name: ``'identity'`` or ``'older than 30 d'``.
        audit: File that the line is appended to; None takes ``deletions.jsonl`` in the folder of
            the gallery, of one in a database ``TABLE-deletions.jsonl`` in the current folder.
        erase: Whether a database is to write its tables anew and to overwrite its log, so that no
            byte of the items is left in its files; searches wait meanwhile. A folder never keeps
            any.

    Returns:
        The file with the line; None if there was nothing to do.

    Raises:
        GalleryError: If they are all items, one is not there, the line cannot be written, or
            something of them is left; it says where.
    """
    place = read_place(place)
    in_database = isinstance(place, DatabaseAddress)
    keeps_dead = gallery.engine.place is not None
    if not ids and not (erase and keeps_dead):
        return None
    if ids and len(ids) == len(gallery):
        raise GalleryError(
            f'these are all {len(gallery)} images of {place}: '
            f'{"drop its table" if in_database else "remove its folder"} instead'
        )
    path = Path(audit) if audit else _audit_file(place)
    # Before anything is removed, not after it.
    _append(path, b'')
    gallery.remove(ids)
    erase = erase or not keeps_dead
    left = gallery.engine.purge() if erase else []
    gallery.save(place)
    if not in_database:
        left += [
            f'{folder} still holds them and cannot be removed: remove it'
            for folder in other_generations(Path(str(place)))
        ]
    line = dict(
        time=datetime.now(timezone.utc).isoformat(timespec='seconds'),
        who=_user(),
        removed=len(ids),
        left=len(gallery),
        reason=reason,
        erased=erase and not left,
    )
    _append(path, json.dumps(line).encode() + b'\n')
    if left:
        raise GalleryError(f'{len(ids)} images were removed, but {"; ".join(left)}')
    return path


def _audit_file(place: str | DatabaseAddress) -> Path:
    if isinstance(place, DatabaseAddress):
        return Path(f'{place.table}-{AUDIT_FILE}')
    return Path(place) / AUDIT_FILE


def _append(path: Path, line: bytes) -> None:
    """Append a line at once, and wait until it is on the disk; links are not followed."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise GalleryError(f'{path} cannot be written: {error}') from error


def _user() -> str:
    """Whose process this is; what the environment says of it could be anything."""
    import pwd  # POSIX has it alone

    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # in a container
        return f'uid {number}'
