"""Who may ask a server: by host, origin and token; and what a browser may do with its answers."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .refusals import RefusedError

COOKIE = 'fusionreid_token'
LEAST_TOKEN = 16
# The page loads its own three files, and shows photos from memory; nothing is loaded elsewhere.
SECURITY_HEADERS = {
    'Content-Security-Policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
}


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, seen from itself alone.

    Example:
        >>> is_loopback('127.0.0.1'), is_loopback('localhost'), is_loopback('0.0.0.0')
        (True, True, False)
    """
    if host.lower().rstrip('.') == 'localhost':
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def new_token() -> str:
    """Make a token that nobody can guess."""
    return secrets.token_urlsafe(24)


def check_token(token: str) -> None:
    """Check a token that somebody chose.

    Args:
        token: The token.

    Raises:
        ValueError: It is too short, or cannot be sent in a header.
    """
    good = token.isascii() and token.isprintable() and not set(token) & set(' ";,\\')
    if len(token) < LEAST_TOKEN or not good:
        raise ValueError(
            f'a token has at least {LEAST_TOKEN} letters, digits or signs, and no space, quote, '
            'comma, semicolon or backslash'
        )


@dataclass(frozen=True)
class Access:
    """Who may ask.

    A web page elsewhere may lead a browser to this server by a name that resolves to its address
    (DNS rebinding). Its requests have that name as their host and are refused: the hosts that are
    taken are addresses, which nobody can point elsewhere, and names that are known.

    Args:
        token: What every request but for the page itself must bring; None for none.
        loopback: Whether the server is reached from this machine alone.
        names: Names under which it may be asked, besides ``localhost``.
    """

    token: str | None = field(default=None, repr=False)
    loopback: bool = True
    names: frozenset[str] = frozenset()

    def check_host(self, host: str) -> None:
        """Check the ``Host`` header of a request.

        Args:
            host: Its value.

        Raises:
            RefusedError: It is none of this server's (421).
        """
        try:
            name = urlsplit(f'//{host}').hostname or ''
        except ValueError:
            name = ''
        name = name.rstrip('.')
        address = _address(name)
        taken = (
            is_loopback(name) or name in self.names or (not self.loopback and address is not None)
        )
        if not taken or '@' in host:
            raise RefusedError(
                421, 'this server is not asked by that host name: allow it by --allow-host'
            )

    def check_origin(self, origin: str | None, host: str) -> None:
        """Check the ``Origin`` header of a request: no other site's page may ask.

        Args:
            origin: Its value; None if it is missing, as in what is no page.
            host: The ``Host`` header.

        Raises:
            RefusedError: It is that of another site (403).
        """
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise RefusedError(403, 'a page of another site asks')

    def check_token(self, given: Iterable[str]) -> None:
        """Check the tokens that a request brings, in the same time for every wrong one.

        Args:
            given: The tokens.

        Raises:
            RefusedError: None of them is right (401).
        """
        if self.token is None:
            return
        right = self.token.encode()
        if not any(hmac.compare_digest(one.encode(), right) for one in given):
            raise RefusedError(401, 'the token is missing or wrong: it was printed at the start')


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
