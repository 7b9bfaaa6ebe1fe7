"""Where a gallery is: a folder, or a table of a database, whose password is never shown."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fusionreid.errors import GalleryError

DEFAULT_TABLE = 'people'
HIDDEN = '***'
_SCHEME = re.compile(r'postgres(?:ql)?://')
_URL = re.compile(r'(postgres(?:ql)?://)(?:([^@/?]*)@)?([^/?]*)(/[^?]*)?(?:\?(.*))?', re.S)
_SECRET_OPTIONS = ('password', 'sslpassword', 'oauth_client_secret')


@dataclass(frozen=True)
class DatabaseAddress:
    """A gallery in PostgreSQL. As text it has no password, so that any message may show it.

    Args:
        url: Address of the database as libpq reads it, such as ``postgresql://user@host/people``.
            What it lacks, libpq takes from PGHOST, PGPASSWORD, ~/.pgpass and service files.
        table: Name of the table, after the name of its schema and a dot if there is one.

    Raises:
        GalleryError: If the URL cannot be read without doubt about what of it is a password.

    Example:
        >>> print(DatabaseAddress('postgresql://anna:secret@db/team', 'people'))
        postgresql://anna@db/team#people
    """

    url: str = field(repr=False)
    table: str = DEFAULT_TABLE

    def __post_init__(self) -> None:
        parts = _URL.fullmatch(self.url)
        # Never the URL itself in a message: what is wrong with it may be its password.
        if parts is None or '#' in self.url:
            raise GalleryError(
                'the URL of a database has the form postgresql://USER@HOST:PORT/DATABASE; write '
                '@ / ? # % in a user or a password as %40 %2F %3F %23 %25'
            )
        if '@' in parts[3] or '@' in (parts[4] or '') or '\0' in self.url:
            raise GalleryError(
                'the URL of the database has an @ after its host: write @ / ? # % in a user or a '
                'password as %40 %2F %3F %23 %25'
            )

    @property
    def safe_url(self) -> str:
        """The URL without passwords."""
        scheme, user, host, path, query = self._parts
        name = user.partition(':')[0]
        kept = [part for part in query.split('&') if part and not _secret(part)]
        options = f'?{"&".join(kept)}' if kept else ''
        return f'{scheme}{name}{"@" if name else ""}{host}{path}{options}'

    @property
    def secrets(self) -> tuple[str, ...]:
        """The passwords in the URL, as they stand there and decoded."""
        _, user, _, _, query = self._parts
        found = [user.partition(':')[2]]
        found += [part.partition('=')[2] for part in query.split('&') if _secret(part)]
        both = {text for secret in found for text in (secret, unquote(secret)) if text}
        return tuple(sorted(both, key=len, reverse=True))

    def hide(self, text: str) -> str:
        """Put ``***`` in the place of the URL's passwords in a text."""
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        return text

    @property
    def _parts(self) -> tuple[str, ...]:
        parts = _URL.fullmatch(self.url)
        assert parts is not None
        return tuple(part or '' for part in parts.groups())

    def __str__(self) -> str:
        return f'{self.safe_url}#{self.table}'

    def __repr__(self) -> str:
        return f'DatabaseAddress({str(self)!r})'


# Where a gallery is: a folder or a table.
Place = str | Path | DatabaseAddress


def read_place(given: Any) -> str | DatabaseAddress:
    """Read where a gallery is.

    Args:
        given: A folder, an address, or a URL such as ``postgresql://user@host/database#table``.

    Returns:
        The folder as text, or the address.

    Raises:
        GalleryError: If a URL cannot be read.

    Example:
        >>> read_place('work_dirs/people'), read_place('postgresql:///team#people')
        ('work_dirs/people', DatabaseAddress('postgresql:///team#people'))
    """
    if isinstance(given, DatabaseAddress):
        return given
    text = os.fsdecode(given)
    if not _SCHEME.match(text):
        return text
    url, _, table = text.partition('#')
    return DatabaseAddress(url, unquote(table) or DEFAULT_TABLE)


def place_name(place: Place) -> str:
    """What to call a gallery: the name of its folder or table.

    Args:
        place: Where it is.

    Example:
        >>> place_name('work_dirs/people/'), place_name(read_place('postgresql:///team#staff'))
        ('people', 'staff')
    """
    if isinstance(place, DatabaseAddress):
        return place.table
    return Path(place).resolve().name


def _secret(option: str) -> bool:
    return unquote(option.partition('=')[0]) in _SECRET_OPTIONS
