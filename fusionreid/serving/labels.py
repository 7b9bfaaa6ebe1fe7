"""Cameras and texts of a gallery, as JSON has them."""

from __future__ import annotations

from fusionreid.gallery.names import Label
from fusionreid.utils.integers import UNKNOWN
from fusionreid.utils.names import is_number

from .refusals import RefusedError


def as_text(name: str) -> str:
    r"""A name as JSON can hold it; bytes that are no UTF-8 are escaped.

    Example:
        >>> as_text('caf\udce9.jpg')
        'caf\\xe9.jpg'
    """
    return name.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')


def write_camera(camera: Label) -> str:
    """Write a camera: its name, its number from 1, or 0 where it is unknown.

    Example:
        >>> write_camera('yard'), write_camera(0), write_camera(-1)
        ('yard', '1', '0')
    """
    return as_text(camera) if isinstance(camera, str) else str(max(camera, UNKNOWN) + 1)


def read_camera(text: str) -> Label:
    """Read a camera as :func:`write_camera` writes it.

    Raises:
        RefusedError: It is neither a name nor a number (422).

    Example:
        >>> read_camera('yard'), read_camera('1'), read_camera('0')
        ('yard', 0, -1)
    """
    text = text.strip()
    if not is_number(text):
        if not text:
            raise RefusedError(422, 'a camera is a name or a number, got nothing')
        return text
    if not text.isdecimal() or len(text) > 15:
        raise RefusedError(422, f'cameras are counted from 1, 0 is unknown, got {text[:40]!r}')
    return int(text) - 1
