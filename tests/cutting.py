"""A way to a service that can be cut while somebody uses it, and is there again for the next connection."""

import contextlib
import socket
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self


class Cutter:
    """Passes bytes on, until `cut`; `sees` what a client sends, before it goes on."""

    def __init__(self, port: int, sees: Callable[[bytes], Any] = len) -> None:
        self._port, self._sees = port, sees
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
            thread.join(10)
        self._server.close()
        for one in self._all:
            one.close()

    def cut(self) -> None:
        """Every connection that is open now ends in the middle of what it says."""
        for one in self._all:
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
            self._start(partial(_pass, client, server, self._sees))
            self._start(partial(_pass, server, client, len))

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
