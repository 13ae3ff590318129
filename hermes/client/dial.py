"""Connections to a server: straight or through a proxy, by TLS or in the clear; and how they break."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from hermes.client.calls import ALIVE, CONNECT_S, check_header, proxy_of
from hermes.client.errors import BrokenOff, NoServer, late, no_address, no_tls, nobody, not_trusted, silent

_PORTS = {"http": 80, "https": 443}


def connect(url: str) -> socket.socket:
    """To the server, or to the proxy that leads there. Raises NoServer, TlsTrouble."""
    parts, proxy = urlsplit(url), urlsplit(proxy_of(url))
    to = proxy if proxy.hostname else parts
    try:
        host = to.hostname or ""  # as bytes: for text Python would import tables of all scripts, 5 ms
        address: Any = (host.encode() if host.isascii() else host, _port(to))
        connection = socket.create_connection(address, CONNECT_S)
    except TimeoutError:
        raise silent(origin_of(parts)) from None
    except OSError as error:
        raise nobody(origin_of(parts), error.strerror or str(error)) from None
    except UnicodeError as error:
        raise no_address(origin_of(parts), error) from None
    try:
        _keep_alive(connection)
        if parts.scheme == "https":
            if proxy.hostname:
                _tunnel(connection, parts, proxy)
            return _encrypted(connection, parts)
        return connection
    except BaseException:
        connection.close()
        raise


def _encrypted(connection: socket.socket, parts: SplitResult) -> socket.socket:
    """By TLS, with the system's certificates (and SSL_CERT_FILE)."""
    import ssl

    url = origin_of(parts)
    try:
        return ssl.create_default_context().wrap_socket(connection, server_hostname=parts.hostname)
    except ssl.SSLCertVerificationError as error:
        raise not_trusted(url, error.verify_message) from None
    except OSError as error:
        raise no_tls(url, error) from None


def _tunnel(connection: socket.socket, parts: SplitResult, proxy: SplitResult) -> None:
    """Through a proxy, so that it cannot read what is said."""
    to = f"{parts.hostname}:{_port(parts)}"
    head = b""
    with talking(origin_of(proxy)):
        connection.sendall(head_of(f"CONNECT {to}", {"Host": to} | proxy_headers(proxy)))
        while not head.endswith(b"\r\n\r\n"):
            if not (byte := connection.recv(1)):
                raise ConnectionError("it hung up")
            head += byte
    if head.split(None, 2)[1][:1] != b"2":
        said = head.partition(b"\r\n")[0].decode("latin-1")
        raise NoServer(
            f"the proxy {origin_of(proxy)} does not lead to {to}: {said[:80]}", "ask who runs the proxy"
        )


def proxy_headers(proxy: SplitResult) -> dict[str, str]:
    """Who asks it, if its address says so."""
    if proxy.username is None:
        return {}
    from base64 import b64encode

    words = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(words.encode()).decode()}"}


def _keep_alive(connection: socket.socket) -> None:
    """A word now and then to a silent peer, so that one which is gone is noticed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in ALIVE:
        if option := getattr(socket, name, None):  # not on every system
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def head_of(line: str, headers: dict[str, str]) -> bytes:
    """Of a request. Raises ClientError for what cannot stand there."""
    for name, value in headers.items():
        check_header(name, value)
    lines = [f"{line} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


@contextmanager
def talking(url: str) -> Iterator[None]:
    """Faults of a connection in the words of our errors."""
    origin = origin_of(urlsplit(url))
    try:
        yield
    except TimeoutError:
        raise late(origin) from None
    except Exception as error:
        from http.client import HTTPException

        if isinstance(error, HTTPException):  # some of these are an OSError, too
            raise BrokenOff(f"{origin} ended the connection: {error}") from None
        if not isinstance(error, OSError):
            raise
        words = error.strerror or str(error) or type(error).__name__
        raise BrokenOff(f"the connection to {origin} broke: {words}") from None


def origin_of(parts: SplitResult) -> str:
    """Scheme, host and port."""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS.get(parts.scheme, 80)
