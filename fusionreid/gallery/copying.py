"""Copies a gallery into another engine, and compares what has arrived."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from fusionreid.errors import GalleryError

from .address import DatabaseAddress, Place, read_place
from .gallery import Gallery
from .storage import check_place, engine_of, gallery_exists

DIGEST_BITS = 256


class Contents(NamedTuple):
    """What a gallery holds.

    Attributes:
        items: Number of items.
        checksum: Over ids, paths, identities, cameras, names, metadata and features of all items,
            in whatever order; 64 hexadecimal digits.
    """

    items: int
    checksum: str


def sum_up(gallery: Gallery, as_stored: Callable[[Tensor], Tensor] | None = None) -> Contents:
    """Read all of a gallery.

    Args:
        gallery: The gallery.
        as_stored: What another engine makes of features; None takes them as they are.

    Returns:
        What it holds.

    Example:
        >>> import torch
        >>> first, second = Gallery(), Gallery()
        >>> first.add(features=torch.eye(2), ids=['a', 'b']).added
        2
        >>> second.add(features=torch.eye(2).flip(0), ids=['b', 'a']).added
        2
        >>> sum_up(first) == sum_up(second)
        True
    """
    total = count = 0
    for items, features in gallery.engine.blocks():
        rows = (features if as_stored is None else as_stored(features)).cpu().numpy()
        named = gallery.with_names(items)
        columns = (items.ids, items.paths, items.person_ids, items.camera_ids, items.metadata)
        for item_id, path, person, camera, metadata, row in zip(*columns, rows, strict=True):
            record: list[Any] = [item_id, path]
            record.append(named.person_names.get(person, int(person)))
            record.append(named.camera_names.get(camera, int(camera)))
            # An integer and the same float are one number of JSON.
            record.append({name: _plain(value) for name, value in sorted(metadata.items())})
            # One negative zero, whatever an engine makes of it.
            digest = hashlib.sha256(json.dumps(record).encode() + (row + 0.0).tobytes())
            total += int.from_bytes(digest.digest(), 'big')
        count += len(items)
    return Contents(count, f'{total % (1 << DIGEST_BITS):064x}')


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def copy_gallery(source: Place, target: Place, engine: dict[str, Any]) -> tuple[Contents, bool]:
    """Copy a gallery, its calibration too.

    Args:
        source: Where it is.
        target: Where to; there must be none.
        engine: Settings of the engine there, with its name as ``type``.

    Returns:
        What has arrived, read back; and whether features were rounded on the way.

    Raises:
        GalleryError: If there is a gallery already, or what has arrived differs.
    """
    source, target = read_place(source), read_place(target)
    # Before anything is made.
    given = Gallery.load(source)
    if gallery_exists(target):
        raise GalleryError(
            f'{target} is a gallery already: fusionreid index merge adds to it, and with '
            f'--keep-first goes on with a copy that was interrupted'
        )
    check_place(target)
    settings = engine_of(target) if isinstance(target, DatabaseAddress) else {}
    copied = Gallery(engine={**engine, **settings})
    copied.merge(given)
    copied.calibration = given.calibration
    copied.save(target)
    expected = sum_up(given, copied.engine.as_stored)
    arrived = sum_up(Gallery.load(target))
    if arrived != expected:
        raise GalleryError(
            f'{target} holds {arrived.items} items with the checksum {arrived.checksum[:16]}, '
            f'{source} has {expected.items} with {expected.checksum[:16]}: one of them was changed '
            f'meanwhile, copy again to another place'
        )
    return arrived, sum_up(given) != expected
