"""Somebody's web server, on a port of its own: what comes to each path, and what it is answered."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from tests.service import free_port


class Taken(NamedTuple):
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float  # by the clock that never goes back


@dataclass
class Listener:
    """`answers`: {path: statuses, the last for ever}; without one it is 204. `heads`: {path: headers of
    answers that are no 204}. `held`: paths that are answered when `released`."""

    port: int = 0
    taken: list[Taken] = field(default_factory=list)
    answers: dict[str, list[int]] = field(default_factory=dict)
    heads: dict[str, dict[str, str]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    released: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str) -> str:
        """By a name: what it means is found when it is connected to."""
        return f"http://localhost:{self.port}{path}"

    def at(self, path: str) -> list[Taken]:
        """What came there, whatever it was answered."""
        return [each for each in self.taken if each.path == path]


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        listener = self.server.listener
        listener.taken.append(Taken(self.path, dict(self.headers), body, time.monotonic()))
        if self.path in listener.held:
            listener.released.wait()
        answers = listener.answers.get(self.path, [204])
        status = answers.pop(0) if len(answers) > 1 else answers[0]
        heads = {"Date": self.date_time_string(), "Location": listener.url("/led-astray")}
        if status != 204:
            heads |= listener.heads.get(self.path, {})
        self.send_response_only(status)
        for name, value in heads.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


class _Server(ThreadingHTTPServer):
    listener: Listener

    def handle_error(self, *_: object) -> None:
        """Who left amid an answer is no matter."""


@contextmanager
def listening(port: int = 0) -> Iterator[Listener]:
    """One that takes all, until it is told otherwise. Its port can be listened on again later."""
    with _Server(("127.0.0.1", port or free_port()), _Handler) as server:
        server.listener = Listener(server.server_address[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.listener
        server.listener.released.set()
        server.shutdown()
