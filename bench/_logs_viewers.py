"""A crowd in a process of its own: plain sockets in one epoll loop, so that its own work hardly counts.

    python -m bench._logs_viewers < orders.json > seen.json

Every viewer's lines are counted from the first to the last: one that is missing or comes twice is told."""

import json
import re
import resource
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass, field

_LINE = re.compile(rb"(\d{10}\.\d{4}) (\d+) x")
_HELLO_S = 0.005  # between two who come
_RECEIVE_BYTES = 1 << 18


@dataclass
class Orders:
    """Who looks at what: `paths` has an address for each viewer."""

    host: str
    port: int
    token: str
    paths: list[str]
    settles_s: float  # after the last one has come
    lasts_s: float  # from then on


@dataclass
class Seen:
    """Delays are of what was printed after everybody was there."""

    delays: list[float] = field(default_factory=list)
    lines: int = 0
    wrong: int = 0  # lines that did not follow the one before
    lost: int = 0  # connections that ended by themselves
    cpu_s: float = 0.0
    everybody_at: float = 0.0


@dataclass
class _Viewer:
    rest: bytes = b""
    last: int = -1


class _Crowd:
    def __init__(self, orders: Orders) -> None:
        self._orders, self._seen = orders, Seen()
        self._epoll = select.epoll()
        self._viewers: dict[int, tuple[socket.socket, _Viewer]] = {}

    def watch(self) -> Seen:
        """Come one after the other, reading meanwhile; then stay."""
        for path in self._orders.paths:
            self._come(path)
            self._read_until(time.monotonic() + _HELLO_S)
        self._read_until(time.monotonic() + self._orders.settles_s)
        self._seen.everybody_at = time.time()
        print("everybody is there", flush=True)
        began_s = _cpu_s()
        self._read_until(time.monotonic() + self._orders.lasts_s)
        self._seen.cpu_s = _cpu_s() - began_s
        return self._seen

    def _come(self, path: str) -> None:
        orders = self._orders
        client = socket.create_connection((orders.host, orders.port))
        head = f"GET {path} HTTP/1.1\r\nHost: {orders.host}\r\nAuthorization: Bearer {orders.token}\r\n\r\n"
        client.sendall(head.encode())
        self._viewers[client.fileno()] = (client, _Viewer())
        self._epoll.register(client.fileno(), select.EPOLLIN)

    def _read_until(self, end: float) -> None:
        while (left_s := end - time.monotonic()) > 0:
            for number, _events in self._epoll.poll(left_s):
                self._read(*self._viewers[number])

    def _read(self, client: socket.socket, viewer: _Viewer) -> None:
        data = client.recv(_RECEIVE_BYTES)
        if not data:
            self._seen.lost += 1
            self._epoll.unregister(client.fileno())
            return
        data = viewer.rest + data
        end = data.rfind(b"\n") + 1
        viewer.rest = data[end:]
        now, since = time.time(), self._seen.everybody_at
        for match in _LINE.finditer(data, 0, end):
            printed, number = float(match[1]), int(match[2])
            self._seen.wrong += viewer.last not in (-1, number - 1)
            viewer.last = number
            if since and printed > since:
                self._seen.lines += 1
                self._seen.delays.append(now - printed)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    json.dump(asdict(_Crowd(Orders(**json.load(sys.stdin))).watch()), sys.stdout)
