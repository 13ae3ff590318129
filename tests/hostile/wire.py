"""Requests whose framing is wrong, as no client library would send them."""

import http.client
import socket
from contextlib import closing

from tests.hostile.case import REPO, authorization
from tests.service import PATIENCE_S, Service


def raw(service: Service, *parts: bytes, path: str = f"/alice/{REPO}.git/git-receive-pack") -> bytes:
    """Bytes as they are on a connection of their own; the answer until the server closes or has said all."""
    kind = path.rpartition("/")[2]
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization('alice', service.token)}\r\n"
        f"Content-Type: application/x-{kind}-request\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port), PATIENCE_S) as connection:
        connection.sendall(head.encode())
        for part in parts:
            try:
                connection.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                break
        with closing(http.client.HTTPResponse(connection)) as answer:
            answer.begin()
            return f"{answer.status}\n".encode() + answer.read()


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS: list[tuple[str, tuple[bytes, ...], bytes]] = [
    ("negative size", (CHUNKED, b"-5\r\nhello\r\n0\r\n\r\n"), rb"^400\n"),
    ("size of words", (CHUNKED, b"five\r\nhello\r\n0\r\n\r\n"), rb"^400\n"),
    ("size of 100 digits", (CHUNKED, b"f" * 100 + b"\r\nhello\r\n0\r\n\r\n"), rb"^400\n"),
    ("huge extension", (CHUNKED, b"5;" + b"x" * 10_000_000 + b"\r\nhello\r\n0\r\n\r\n"), rb"^400\n"),
    ("no end of a line", (CHUNKED, b"5" * 1_000_000), rb"^400\n"),
    ("two lengths", (b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n0000",), rb"^400\n"),
    ("length and chunks", (b"Content-Length: 4\r\n" + CHUNKED, b"4\r\n0000\r\n0\r\n\r\n"), rb"^(200|400)\n"),
    ("negative length", (b"Content-Length: -1\r\n\r\n",), rb"^400\n"),
    ("length in words", (b"Content-Length: many\r\n\r\n",), rb"^400\n"),
    ("header of 1 MB", (b"X: " + b"x" * 1_000_000 + b"\r\n\r\n",), rb"^(400|431)\n"),
]  # fmt: skip
