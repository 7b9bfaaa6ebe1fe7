from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import torch


@dataclass
class Server:
    """A server on this machine whose answers a test decides.

    Attributes:
        address: ``http://...`` without a slash at the end.
        answers: Contents by path; a list is given out one after another, the last one for ever.
        requests: Paths that were asked for.
        closed: Set when the test is over. ``/short`` answers less than it claims, ``/silent`` waits
            before it ends, ``/unsized`` does not say how much comes.
    """

    address: str = ''
    answers: dict[str, list[bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)

    def next_answer(self, path: str) -> bytes | None:
        """Note a request and find what to answer."""
        self.requests.append(path)
        waiting = self.answers.get(path)
        if not waiting:
            return None
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Server]:
    """A server of nothing yet, and an empty cache of downloads."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    served = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            content = served.next_answer(self.path)
            self.send_response(404 if content is None else 200)
            claimed = len(content or b'') + 1000 * self.path.startswith(('/short', '/silent'))
            if not self.path.startswith('/unsized'):
                self.send_header('Content-Length', str(claimed))
            self.end_headers()
            self.wfile.write(content or b'')
            if self.path.startswith('/silent'):
                served.closed.wait(10)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        served.address = f'http://127.0.0.1:{httpd.server_port}'
        yield served
        served.closed.set()
        httpd.shutdown()


@pytest.fixture(autouse=True, scope='package')
def one_thread() -> Iterator[None]:
    """Tiny models compute faster on one thread, above all where others compute too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
