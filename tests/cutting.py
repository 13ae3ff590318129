"""A way to a service that can be cut while somebody uses it, and is there again for the next connection."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

from tests.service import PATIENCE_S


class Cutter:
    """Passes bytes on, until `cut`, or until it is to get stuck; `sees` what a client sends, before it goes
    on."""

    def __init__(self, port: int, sees: Callable[[bytes], Any] = len) -> None:
        self._port, self._sees = port, sees
        self._most_bytes = 0
        self._passed: dict[socket.socket, int] = {}  # bytes of each client, since `get_stuck`
        self._gone: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._all: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._serve)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        self._server.close()
        for one in self._all:
            one.close()

    def get_stuck(self, most_bytes: int) -> None:
        """From now on only so much comes through from each client, and what is under way stays so. 0: all."""
        self._most_bytes, self._passed = most_bytes, {}

    def cut(self) -> None:
        """Every connection that is open now ends in the middle of what it says."""
        for one in self._all:
            self._gone.add(one)
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                return
            self._all += [client, server]
            self._start(partial(_pass, client, server, partial(self._let_through, client)))
            self._start(partial(_pass, server, client, len))

    def _let_through(self, client: socket.socket, data: bytes) -> None:
        self._sees(data)
        self._passed[client] = self._passed.get(client, 0) + len(data)
        while 0 < self._most_bytes < self._passed.get(client, 0) and client not in self._gone:
            time.sleep(0.01)

    def _start(self, work: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()


def _pass(source: socket.socket, target: socket.socket, sees: Callable[[bytes], Any]) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sees(data)
            target.sendall(data)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
