"""When items were seen: read from their metadata, chosen by it, and counted in a ranking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone

import numpy as np

from fusionreid.errors import GalleryError

from .gallery import Gallery
from .metadata import Value
from .search_result import GallerySearchResult

# The column of the metadata that holds when an item was seen.
TIME = 'time'


def time_of(metadata: Mapping[str, Value], name: str = 'an item') -> datetime | None:
    """Read when an item was seen.

    Args:
        metadata: What is known about it. ``time`` is a date and time as ISO 8601 writes them, of
            UTC where it names no time zone, or a number of seconds since 1970.
        name: What the item is called in a message.

    Returns:
        The time; None if it is not known.

    Raises:
        GalleryError: If the column holds something else.

    Example:
        >>> time_of({'time': '2024-05-01T08:00:00+02:00'}).isoformat()
        '2024-05-01T06:00:00+00:00'
    """
    value = metadata.get(TIME)
    if value is None:
        return None
    try:
        if isinstance(value, str):
            # Python 3.10 does not know the Z.
            moment = datetime.fromisoformat(value[:-1] + '+00:00' if value[-1:] == 'Z' else value)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=timezone.utc)
            return moment.astimezone(timezone.utc)
        if not isinstance(value, bool):
            return datetime.fromtimestamp(value, timezone.utc)
    except (ValueError, OverflowError, OSError):
        pass
    raise GalleryError(
        f'{name} has the {TIME} {value!r:.80}, expected a time such as 2024-05-01T08:00:00+00:00 '
        f'or seconds since 1970'
    )


def find_older(gallery: Gallery, moment: datetime) -> tuple[list[str], int]:
    """Find the items that were seen before a moment.

    Args:
        gallery: The gallery.
        moment: The moment, with its time zone.

    Returns:
        Their ids, and how many items have no time.

    Raises:
        GalleryError: If an item has a time that is none.
    """
    older: list[str] = []
    without = 0
    for items in gallery.item_blocks():
        for item_id, metadata in zip(items.ids, items.metadata, strict=True):
            seen = time_of(metadata, item_id)
            if seen is None:
                without += 1
            elif seen < moment:
                older.append(item_id)
    return older, without


def order_by_age(
    found: GallerySearchResult, half_life: timedelta, k: int, now: datetime | None = None
) -> GallerySearchResult:
    """Order items by their similarity, which fades with their age.

    The similarity 1 - d^2 / 4 of an item at the distance d, 1 for the same feature and 0 for the
    opposite one, is halved with each half-life that has gone by since it was seen. Distances, and
    the rates that belong to them, stay as they are. Items without a time come last, the nearest
    first; one that is seen in the future is as new as can be.

    Args:
        found: Candidates, more of them than are wanted.
        half_life: Time in which the similarity is halved.
        k: Items that are kept for each query.
        now: What the age is counted to; None for the present.

    Returns:
        The result with up to k columns, in the new order.

    Raises:
        GalleryError: If the half-life is not positive, or an item has a time that is none.
    """
    if half_life <= timedelta(0):
        raise GalleryError(f'the half-life must be longer than 0, got {half_life}')
    now = now or datetime.now(timezone.utc)
    filled = np.arange(found.ids.shape[1]) < found.counts[:, None]
    scores = np.full(found.ids.shape, -np.inf)
    for place in zip(*np.nonzero(filled), strict=True):
        seen = time_of(found.metadata[place], str(found.ids[place]))
        distance = float(found.distances[place])
        if seen is None:
            # Below every similarity, in the order of the distances.
            scores[place] = -1 - distance
            continue
        halvings = max(0.0, (now - seen) / half_life)
        scores[place] = (1 - distance**2 / 4) * 0.5**halvings
    order = np.argsort(-scores, axis=1, kind='stable')[:, :k]
    moved = {}
    for column in fields(found):
        values = getattr(found, column.name)
        if values is not None and values.ndim > 1:
            picked = order if values.ndim == 2 else order[..., None]
            moved[column.name] = np.take_along_axis(values, picked, axis=1)
    return replace(found, **moved, counts=np.minimum(found.counts, k))
