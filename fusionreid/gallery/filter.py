"""Which items a search may find: by camera, identity or id, for all queries or for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from fusionreid.errors import GalleryError
from fusionreid.utils.integers import are_several, as_integers, clamp_unknown

EXCLUDE = 'exclude_'


@dataclass(frozen=True)
class GalleryFilter:
    """Which items may be found; each setting that is not None narrows the choice.

    Values are kept sorted and without repetition, so that filters that mean the same are equal.
    ``first & second`` passes what both pass.

    Args:
        cameras: Only items of these 0-based cameras; a negative one stands for the unknown ones.
        exclude_cameras: No item of these cameras.
        person_ids: Only items of these identities.
        exclude_person_ids: No item of these identities.
        ids: Only these items.
        exclude_ids: None of these items.

    Raises:
        GalleryError: If a camera or an identity is no whole number.

    Example:
        >>> daytime = GalleryFilter(cameras=[0, 1, 2], exclude_ids=['a.jpg'])
        >>> both = daytime & GalleryFilter(cameras=[1, 2, 3], exclude_ids=['b.jpg'])
        >>> both.cameras, both.exclude_ids
        ((1, 2), ('a.jpg', 'b.jpg'))
    """

    cameras: Iterable[int] | None = None
    exclude_cameras: Iterable[int] | None = None
    person_ids: Iterable[int] | None = None
    exclude_person_ids: Iterable[int] | None = None
    ids: Iterable[str] | None = None
    exclude_ids: Iterable[str] | None = None

    def __post_init__(self) -> None:
        for column in fields(self):
            given = getattr(self, column.name)
            if given is None:
                continue
            values = given if are_several(given) else [given]
            if column.name in ('ids', 'exclude_ids'):
                values = map(str, values)
            else:
                values = clamp_unknown(as_integers(values, column.name, GalleryError))
            kept = tuple(sorted(set(values)))
            # To exclude nothing is no condition; to allow nothing is one.
            is_condition = kept or not column.name.startswith(EXCLUDE)
            object.__setattr__(self, column.name, kept if is_condition else None)

    def __bool__(self) -> bool:
        return any(getattr(self, column.name) is not None for column in fields(self))

    def __and__(self, other: GalleryFilter) -> GalleryFilter:
        combined = {}
        for column in fields(self):
            name = column.name
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours is None or theirs is None:
                combined[name] = theirs if ours is None else ours
            elif name.startswith(EXCLUDE):
                combined[name] = {*ours, *theirs}
            else:
                combined[name] = {*ours} & {*theirs}
        return GalleryFilter(**combined)
