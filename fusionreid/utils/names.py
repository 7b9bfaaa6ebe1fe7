"""Names that people give: of cameras, of other people."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Any, TypeGuard

# Numbers of names: 52 bits from here on, which JSON and doubles hold exactly. Nobody counts so far.
FIRST_NAMED = 1 << 52
_NUMBER = re.compile(r'[-+]?(\d+\.?\d*|\.\d+)')


def tidy_name(name: str) -> str:
    """Write a name in one way: without spaces around it, and with composed characters.

    Args:
        name: The name, for example of a folder, which some systems write decomposed.

    Returns:
        The same, so that equal names are equal texts.

    Example:
        >>> tidy_name(' north door ')
        'north door'
    """
    return unicodedata.normalize('NFC', name.strip())


def is_number(text: str) -> bool:
    """Whether a text is written as a number, which is no name then.

    Example:
        >>> is_number('12'), is_number('-1.5'), is_number('2nd floor')
        (True, True, False)
    """
    return _NUMBER.fullmatch(text) is not None


def is_name(label: Any) -> TypeGuard[str]:
    """Whether a label of a camera or a person is a name, no number.

    Example:
        >>> is_name('yard'), is_name('12'), is_name(12)
        (True, False, False)
    """
    return isinstance(label, str) and not is_number(label)


def number_of(name: str) -> int:
    """The number that stands for a name, in every gallery and calibration the same.

    It is computed from the name, so that galleries can be merged, and a collection of Milvus be
    filled by several processes, without an agreement on numbers.

    Args:
        name: The name, as :func:`tidy_name` writes it.

    Returns:
        A number from ``FIRST_NAMED`` to twice that.

    Example:
        >>> number_of('north door') == number_of('north door') != number_of('yard')
        True
    """
    digest = hashlib.sha256(name.encode('utf-8', 'surrogateescape')).digest()
    return FIRST_NAMED + int.from_bytes(digest[:8], 'big') % FIRST_NAMED


def camera_names(metainfo: Any) -> dict[int, str]:
    """Read which names a data set gives its cameras.

    Args:
        metainfo: Of the data set, or what a file says of it; anything.

    Returns:
        Names by 0-based number; none where cameras have numbers alone.

    Example:
        >>> camera_names(dict(camera_names={0: 'yard'})), camera_names(None)
        ({0: 'yard'}, {})
    """
    names = metainfo.get('camera_names') if isinstance(metainfo, dict) else None
    if not isinstance(names, dict):
        return {}
    return {n: name for n, name in names.items() if type(n) is int and isinstance(name, str)}
