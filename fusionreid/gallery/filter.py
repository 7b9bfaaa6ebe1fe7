"""Which items a search may find: by camera, identity, id or metadata, for all queries or each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from fusionreid.errors import GalleryError
from fusionreid.utils.integers import UNKNOWN, are_several, as_integer
from fusionreid.utils.names import is_number

from .metadata import Condition, read_conditions
from .names import Label, clean_name, find_number

EXCLUDE = 'exclude_'


@dataclass(frozen=True)
class GalleryFilter:
    """Which items may be found; each setting that is not None narrows the choice.

    Values are kept sorted and without repetition, so that filters that mean the same are equal.
    ``first & second`` passes what both pass.

    Args:
        cameras: Only items of these cameras: 0-based numbers, of which a negative one stands for
            the unknown ones, or names.
        exclude_cameras: No item of these cameras.
        person_ids: Only items of these identities, numbers or names.
        exclude_person_ids: No item of these identities.
        ids: Only these items.
        exclude_ids: None of these items.
        metadata: For each column the value that it must have, several of which one will do, or a
            :class:`~fusionreid.gallery.Between`.

    Raises:
        GalleryError: If a camera or an identity is neither a whole number nor a name, or metadata
            cannot have a value.

    Example:
        >>> daytime = GalleryFilter(cameras=[0, 1, 2], exclude_ids=['a.jpg'])
        >>> both = daytime & GalleryFilter(cameras=[1, 2, 3], exclude_ids=['b.jpg'])
        >>> both.cameras, both.exclude_ids
        ((1, 2), ('a.jpg', 'b.jpg'))
    """

    cameras: Iterable[Label] | None = None
    exclude_cameras: Iterable[Label] | None = None
    person_ids: Iterable[Label] | None = None
    exclude_person_ids: Iterable[Label] | None = None
    ids: Iterable[str] | None = None
    exclude_ids: Iterable[str] | None = None
    metadata: Mapping[str, Any] | Iterable[Condition] | None = None

    def __post_init__(self) -> None:
        for column in fields(self):
            given = getattr(self, column.name)
            if given is None:
                continue
            if column.name == 'metadata':
                object.__setattr__(self, 'metadata', read_conditions(given) or None)
                continue
            values = given if are_several(given) else [given]
            if hasattr(values, 'tolist'):
                values = values.tolist()
            chosen: set[Label]
            if column.name in ('ids', 'exclude_ids'):
                chosen = set(map(str, values))
            else:
                chosen = {_check_label(value, column.name) for value in values}
            kept = tuple(sorted(chosen, key=lambda value: (isinstance(value, str), value)))
            # To exclude nothing is no condition; to allow nothing is one.
            is_condition = kept or not column.name.startswith(EXCLUDE)
            object.__setattr__(self, column.name, kept if is_condition else None)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What the metadata of an item must be; all of them."""
        return read_conditions(self.metadata or ())

    def __bool__(self) -> bool:
        return any(getattr(self, column.name) is not None for column in fields(self))

    def numbered(
        self, camera_names: Mapping[int, str], person_names: Mapping[int, str]
    ) -> GalleryFilter:
        """Put numbers in the place of names.

        Args:
            camera_names: Names of the cameras in the gallery, by number.
            person_names: Names of its identities, by number.

        Returns:
            The filter that engines take.

        Raises:
            GalleryError: If a name is none of them.
        """
        found: dict[str, Any] = {}
        for column, names, what in (
            ('cameras', camera_names, 'camera'),
            ('person_ids', person_names, 'identity'),
        ):
            for name in (column, f'{EXCLUDE}{column}'):
                labels = getattr(self, name) or ()
                if any(isinstance(label, str) for label in labels):
                    found[name] = [
                        find_number(label, names, what) if isinstance(label, str) else label
                        for label in labels
                    ]
        return replace(self, **found) if found else self

    def __and__(self, other: GalleryFilter) -> GalleryFilter:
        combined = {}
        for column in fields(self):
            name = column.name
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours is None or theirs is None:
                combined[name] = theirs if ours is None else ours
            elif name.startswith(EXCLUDE) or name == 'metadata':
                combined[name] = {*ours, *theirs}
            else:
                combined[name] = {*ours} & {*theirs}
        return GalleryFilter(**combined)


def _check_label(value: object, name: str) -> Label:
    if isinstance(value, str) and not is_number(value):
        return clean_name(value)
    return max(as_integer(value, name, GalleryError), UNKNOWN)
