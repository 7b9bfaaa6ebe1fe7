"""Names of cameras and people, and the numbers that stand for them in a gallery."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from fusionreid.errors import GalleryError
from fusionreid.utils.feature_files import check_text
from fusionreid.utils.integers import UNKNOWN, are_several, as_integer
from fusionreid.utils.names import is_name, is_number, number_of, tidy_name

# A camera or identity: a name, or a number, negative where unknown.
Label = int | str
SHOWN_NAMES = 20


def clean_name(name: str) -> str:
    """Write a name as the gallery keeps it.

    Args:
        name: The name.

    Returns:
        The name that is kept.

    Raises:
        GalleryError: If nothing is left of it, it is a number, or it cannot be saved.
    """
    cleaned = tidy_name(name)
    check_text(cleaned, GalleryError)
    if is_number(cleaned):
        raise GalleryError(f'{name!r} is a number, not a name: write it without quotes in Python')
    if not cleaned:
        raise GalleryError(f'{name!r} is no name of a camera or an identity')
    return cleaned


def number_labels(labels: Any, what: str) -> tuple[list[int], dict[int, str]]:
    """Turn labels into numbers.

    Args:
        labels: Names and numbers.
        what: What a message calls them.

    Returns:
        Their numbers, -1 where unknown, and the names by number.

    Raises:
        GalleryError: If one is neither a number nor a name.

    Example:
        >>> number_labels([3, -7], 'camera_ids')
        ([3, -1], {})
    """
    if not are_several(labels):
        raise GalleryError(f'{what} must be several numbers or names, got {labels!r}')
    numbers, names = [], dict[int, str]()
    known: dict[str, int] = {}
    for label in labels.tolist() if hasattr(labels, 'tolist') else labels:
        if not is_name(label):
            numbers.append(max(as_integer(label, what, GalleryError), UNKNOWN))
            continue
        if label not in known:
            name = clean_name(label)
            known[label] = number_of(name)
            add_names(names, {known[label]: name})
        numbers.append(known[label])
    return numbers, names


def add_names(names: MutableMapping[int, str], more: Mapping[int, str]) -> None:
    """Add names to a table of them, in place.

    Args:
        names: The names by number.
        more: Further ones.

    Raises:
        GalleryError: If another name has the same number, which one in 10^15 pairs has.
    """
    for number, name in more.items():
        if names.setdefault(number, name) != name:
            raise GalleryError(f'{name!r} and {names[number]!r} cannot both be names: change one')


def find_number(name: str, names: Mapping[int, str], what: str) -> int:
    """The number of a name that must be in a gallery.

    Args:
        name: The name.
        names: The names in the gallery, by number.
        what: ``'camera'`` or ``'identity'``.

    Returns:
        Its number.

    Raises:
        GalleryError: If no image has it.
    """
    cleaned = clean_name(name)
    if number_of(cleaned) in names:
        return number_of(cleaned)
    there = sorted(names.values())
    more = ', ...' if len(there) > SHOWN_NAMES else ''
    raise GalleryError(
        f'no image of the index has the {what} {cleaned!r}; '
        + (f'it has {", ".join(there[:SHOWN_NAMES])}{more}' if there else 'it has no names')
    )


def read_names(listed: Iterable[Any]) -> dict[int, str]:
    """Number the names that a saved gallery lists.

    Raises:
        TypeError: If something is no text.
    """
    names: dict[int, str] = {}
    for name in listed:
        if not isinstance(name, str):
            raise TypeError(f'{name!r} is no name')
        names[number_of(name)] = name
    return names
