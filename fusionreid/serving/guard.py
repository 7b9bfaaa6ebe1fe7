"""What stands before the application: it checks who asks, and completes every answer."""

from __future__ import annotations

import json
import logging
import time
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import COOKIE, SECURITY_HEADERS, Access
from .metrics import Metrics
from .refusals import RefusedError

# What is asked without a token: the page, which holds nothing of the gallery, and whether the
# server lives.
OPEN = frozenset(('/', '/static/app.js', '/static/style.css', '/health'))
OTHER_ROUTE = 'other'


class Guard:
    """Lets in requests that have access, and gives every answer its headers.

    Args:
        app: The application.
        access: Who may ask.
        metrics: Counts every request.
    """

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics) -> None:
        self.app, self.access, self.metrics = app, access, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request.

        Args:
            scope: What is asked.
            receive: Gives its body.
            send: Takes the answer.
        """
        if scope['type'] != 'http':
            if scope['type'] == 'lifespan':
                await self.app(scope, receive, send)
            return
        start = time.monotonic()
        status = 500
        has_begun = False

        async def send_complete(message: Message) -> None:
            nonlocal status, has_begun
            if message['type'] == 'http.response.start':
                status, has_begun = message['status'], True
                headers = MutableHeaders(raw=message['headers'])
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault('Cache-Control', 'no-store')
                message['headers'] = headers.raw
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, receive, send_complete)
        except RefusedError as refusal:
            await _answer(send_complete, refusal.status, refusal.reason, refusal.headers)
        except Exception:
            logging.getLogger(__name__).exception('a request failed')
            if not has_begun:
                await _answer(send_complete, 500, 'the server has failed; its log says why', {})
        finally:
            route = getattr(scope.get('route'), 'path', OTHER_ROUTE)
            self.metrics.count(route, status, time.monotonic() - start)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get('host', '')
        self.access.check_host(host)
        self.access.check_origin(headers.get('origin'), host)
        if scope['path'] not in OPEN:
            self.access.check_token(_tokens(headers))


def _tokens(headers: Headers) -> list[str]:
    """Tokens of a request: as a bearer, or in a cookie that the page has got."""
    found = []
    scheme, _, token = headers.get('authorization', '').partition(' ')
    if scheme.lower() == 'bearer':
        found.append(token.strip())
    try:
        cookie = SimpleCookie(headers.get('cookie', '')).get(COOKIE)
    except CookieError:
        cookie = None
    if cookie is not None:
        found.append(cookie.value)
    return found


async def _answer(send: Send, status: int, reason: str, more: dict[str, str]) -> None:
    body = json.dumps(dict(detail=reason)).encode()
    headers: dict[str, Any] = {
        'content-type': 'application/json',
        'content-length': str(len(body)),
        **more,
    }
    if status == 401:
        headers['www-authenticate'] = 'Bearer'
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({'type': 'http.response.start', 'status': status, 'headers': raw})
    await send({'type': 'http.response.body', 'body': body})
