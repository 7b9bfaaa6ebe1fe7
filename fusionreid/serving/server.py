"""Runs the application until it is asked to stop."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from fusionreid.errors import UserError

BACKLOG = 128
# Open connections; each may send a head, whose size uvicorn bounds.
CONNECTIONS = 512
# For requests that are at work when the server is asked to stop.
LAST_SECONDS = 10


def open_socket(host: str, port: int) -> socket.socket:
    """Take an address before anything is loaded.

    Args:
        host: Name or address.
        port: 0 to 65535; 0 takes a free one.

    Returns:
        The socket, which does not listen yet.

    Raises:
        UserError: There is no such host, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind(address)
        except BaseException:
            opened.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise UserError(
            f'{host} port {port} cannot be taken: {reason}; name another one (--host, --port)'
        ) from error
    return opened


def serve(app: ASGIApp, opened: socket.socket) -> None:
    """Answer requests until Ctrl-C or SIGTERM; those at work then are answered still.

    Args:
        app: The application.
        opened: Where it is asked.
    """
    config = uvicorn.Config(
        app,
        log_level='warning',
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=LAST_SECONDS,
    )
    with _no_other_end():
        uvicorn.Server(config).run(sockets=[opened])


@contextmanager
def _no_other_end() -> Iterator[None]:
    """Let no signal end the process once the server has stopped: uvicorn sends it again."""
    before = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
