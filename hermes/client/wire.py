"""HTTP/1.1 for the client that waits: requests are written here, answers are read by `http.client`.

That module takes 20 ms to import, TLS another 10: it is imported when a request is on its way and the server
works, as `hermes run` is not to take longer than what it runs."""

import select
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hermes.client.body import Content, pieces, size_of
from hermes.client.calls import WRITE_S, Call, Reply, proxy_of
from hermes.client.dial import connect, head_of, origin_of, proxy_headers, talking
from hermes.client.errors import BrokenOff, OtherServer

if TYPE_CHECKING:
    from http.client import HTTPResponse

_PIECE_BYTES = 1 << 18
_MOST_MOVES = 10


@dataclass
class Answer(Reply):
    """A reply whose body is still to come."""

    response: "HTTPResponse | None" = None

    def read(self) -> None:
        """All of it, to `body`."""
        self.body = b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """As they come. Raises BrokenOff when it ends too early."""
        assert self.response is not None
        with talking(self.url):
            while data := self.response.read1(_PIECE_BYTES):
                yield data
        if missing := self.response.length:
            raise BrokenOff(
                f"{origin_of(urlsplit(self.url))} ended the connection: {missing} bytes are missing"
            )
        self.close()

    @property
    def is_over(self) -> bool:
        """All of it came, and another may follow on its connection."""
        return self.response is not None and self.response.isclosed() and not self.response.will_close

    def close(self) -> None:
        """Nobody wants the rest, if there is any."""
        if self.response is not None:
            self.response.close()


class Wire:
    """Connections to one server, kept for the next call."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._url, self._headers = url, headers
        self._at_rest: list[socket.socket] = []

    def close(self) -> None:
        """Those that are at rest."""
        while self._at_rest:
            self._at_rest.pop().close()

    @contextmanager
    def open(self, call: Call, follows: bool = False) -> Iterator[Answer]:
        """Send it, and have its answer until the block ends; `follows`: wherever that is."""
        url, headers = self._url + call.target, self._headers | call.headers
        for _ in range(_MOST_MOVES):
            connection, is_free = self._take(url), False
            try:
                with closing(_ask(connection, url, call, headers)) as answer:
                    if not (follows and answer.moved_to):
                        yield answer
                        is_free = answer.is_over and url.startswith(f"{self._url}/")
                        return
            finally:
                if is_free:
                    self._at_rest.append(connection)
                else:
                    connection.close()
            if urlsplit(answer.moved_to)[:2] != urlsplit(url)[:2]:
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            url = answer.moved_to
        raise OtherServer(f"{self._url} leads from one address to the next", "is the address right?")

    def _take(self, url: str) -> socket.socket:
        while url.startswith(f"{self._url}/") and self._at_rest:
            connection = self._at_rest.pop()
            if not _is_readable(connection):  # else it was closed
                return connection
            connection.close()
        return connect(url)


def _ask(connection: socket.socket, url: str, call: Call, headers: dict[str, str]) -> Answer:
    """Send a request and read the head of its answer. Raises BrokenOff."""
    parts, proxy = urlsplit(url), urlsplit(proxy_of(url))
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    given: dict[str, str] = {"Host": parts.netloc, "Accept-Encoding": "identity"}
    if proxy.hostname and parts.scheme == "http":
        target, given = url, given | proxy_headers(proxy)
    content, about = call.payload()
    size = size_of(content)
    if size != 0 or call.method not in ("GET", "DELETE"):
        about |= {"Transfer-Encoding": "chunked"} if size is None else {"Content-Length": str(size)}
    head = head_of(f"{call.method} {target}", given | headers | about)
    with talking(url):
        connection.settimeout(WRITE_S)
        connection.sendall(head)
        is_sent = _send(connection, content, is_chunked=size is None)
        from http.client import HTTPResponse

        connection.settimeout(call.silence_s)
        response = HTTPResponse(connection, method=call.method)
        try:
            response.begin()
        except BaseException:
            response.close()
            raise
    response.will_close = response.will_close or not is_sent  # nobody knows where the next answer would begin
    named = {name.lower(): value for name, value in response.getheaders()}
    return Answer(url, response.status, response.reason, named, response=response)


def _send(connection: socket.socket, content: Content, *, is_chunked: bool) -> bool:
    """Whether all of it was wanted. Who says no before has answered, or is about to."""
    try:
        for data in pieces(content):
            if _has_answered(connection):
                return False
            if is_chunked:
                connection.sendall(b"%x\r\n" % len(data))
            connection.sendall(data)
            if is_chunked:
                connection.sendall(b"\r\n")
        if is_chunked:
            connection.sendall(b"0\r\n\r\n")
    except ConnectionError:
        return False
    return True


def _has_answered(connection: socket.socket) -> bool:
    """TLS has more to say than answers, so there nobody knows."""
    return type(connection) is socket.socket and _is_readable(connection)


def _is_readable(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
