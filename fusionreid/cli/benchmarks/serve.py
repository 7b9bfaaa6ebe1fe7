"""Measure how many searches a running server answers, and whether all are answered.

fusionreid benchmark serve http://127.0.0.1:8000 PHOTOS_DIR --clients 4 --requests 50

Each client asks again as soon as it is answered. With more clients than the server's queue has
places, some are told to come later (503), which is no error.
"""

from __future__ import annotations

import argparse
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from fusionreid.cli.arguments import positive
from fusionreid.cli.extraction import find_images
from fusionreid.errors import UserError
from fusionreid.utils.tables import format_table

BOUNDARY = 'fusionreid-benchmark'
SECONDS = 120
OK, LATER = 200, 503


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('address', help='of a server (fusionreid serve)')
    parser.add_argument('images_dir', help='folder of photos to search for')
    parser.add_argument('--clients', type=positive, default=4, help='at once (default: 4)')
    parser.add_argument(
        '--requests', type=positive, default=50, help='of each client (default: 50)'
    )
    parser.add_argument('-k', type=positive, default=10, help='answers a photo (default: 10)')
    parser.add_argument('--token', help='of the server, if it needs one')


def run(args: argparse.Namespace) -> int:
    """Measure, and print what came of it.

    Returns:
        Exit status: 1 if there were errors.
    """
    host = urlsplit(args.address).netloc
    if not args.address.startswith('http://') or not host:
        raise UserError(f'{args.address!r} is no address such as http://127.0.0.1:8000')
    load = measure_load(
        host, find_images(args.images_dir), args.clients, args.requests, args.k, args.token
    )
    median, slow = (1000 * float(np.quantile(load.seconds or [0], q)) for q in (0.5, 0.95))
    header = ('clients', 'searches', 'answered', 'told to wait', 'errors', 'per second')
    row = (
        f'{args.clients}',
        f'{load.statuses.total()}',
        f'{load.statuses[OK]}',
        f'{load.statuses[LATER]}',
        f'{load.errors}',
        f'{load.statuses[OK] / load.duration:.1f}',
    )
    times = (f'{median:.0f} ms', f'{slow:.0f} ms')
    print(format_table([(*header, 'median', '95% within'), (*row, *times)]))
    return 1 if load.errors else 0


@dataclass
class Load:
    """What came of many requests.

    Attributes:
        answers: HTTP statuses of the answers; 0 where there was none.
        seconds: How long each took that was answered.
        retries: What ``Retry-After`` says where there is no place.
        duration: Of all of them, in seconds.
    """

    answers: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    retries: list[str | None] = field(default_factory=list)
    duration: float = 0.0

    @property
    def statuses(self) -> Counter[int]:
        """How often there was each status."""
        return Counter(self.answers)

    @property
    def errors(self) -> int:
        """Requests that were neither answered nor told to come later."""
        return sum(status not in (OK, LATER) for status in self.answers)


def measure_load(
    host: str,
    photos: Sequence[str],
    clients: int,
    requests: int,
    k: int = 10,
    token: str | None = None,
) -> Load:
    """Search from several clients at once.

    Args:
        host: Name and port of the server.
        photos: Image files, which take turns.
        clients: How many ask at once, each on one connection.
        requests: How often each asks.
        k: Answers for a photo.
        token: Of the server, if it needs one.

    Returns:
        What came of it.
    """
    load = Load()
    bodies = [_body(path, k) for path in photos[: clients * requests]]
    headers = {'Content-Type': f'multipart/form-data; boundary={BOUNDARY}'}
    if token:
        headers['Authorization'] = f'Bearer {token}'

    def ask(client: int) -> None:
        connection = http.client.HTTPConnection(host, timeout=SECONDS)
        for turn in range(requests):
            begin = time.perf_counter()
            try:
                body = bodies[(client * requests + turn) % len(bodies)]
                connection.request('POST', '/api/search', body, headers)
                answer = connection.getresponse()
                content, status = answer.read(), answer.status
                if status == OK and not json.loads(content)['queries'][0]['answers']:
                    status = 0
            except (OSError, http.client.HTTPException, ValueError):
                connection.close()
                status = 0
            # Threads may share lists of Python.
            load.answers.append(status)
            if status == OK:
                load.seconds.append(time.perf_counter() - begin)
            elif status == LATER:
                load.retries.append(answer.headers['Retry-After'])
        connection.close()

    threads = [threading.Thread(target=ask, args=[number]) for number in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.duration = time.perf_counter() - begin
    return load


def _body(path: str, k: int) -> bytes:
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="k"\r\n\r\n{k}\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="photo"\r\n\r\n'
    )
    return head.encode() + Path(path).read_bytes() + f'\r\n--{BOUNDARY}--\r\n'.encode()
