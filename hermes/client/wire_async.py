"""The same for the client that does not wait, by httpx."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from hermes.client.body import Body, Form, size_of
from hermes.client.calls import ALIVE, CONNECT_S, WRITE_S, Call, Reply, proxy_of
from hermes.client.errors import BrokenOff, NoServer, late, no_address, no_tls, nobody, not_trusted, silent


@dataclass
class Answer(Reply):
    """A reply whose body is still to come."""

    response: httpx.Response | None = None

    async def read(self) -> None:
        """All of it, to `body`."""
        self.body = b"".join([data async for data in self.pieces()])

    async def pieces(self) -> AsyncIterator[bytes]:
        """As they come. Raises BrokenOff when it ends too early."""
        assert self.response is not None
        with _in_words(self.url):
            async for data in self.response.aiter_bytes():
                yield data


class AsyncWire:
    """Connections to one server."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._url = url
        options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        for name, value in ALIVE:
            if option := getattr(socket, name, None):  # not on every system
                options.append((socket.IPPROTO_TCP, option, value))
        is_tls = url.startswith("https:")  # reading the system's certificates takes 17 ms
        trust = ssl.create_default_context() if is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        proxy = proxy_of(url) or None
        transport = httpx.AsyncHTTPTransport(verify=trust, proxy=proxy, socket_options=options)
        self._http = httpx.AsyncClient(headers={"Accept-Encoding": "identity"} | headers, transport=transport)

    async def aclose(self) -> None:
        """All of them."""
        await self._http.aclose()

    @asynccontextmanager
    async def open(self, call: Call, follows: bool = False) -> AsyncIterator[Answer]:
        """Send it, and have its answer until the block ends; `follows`: wherever that is."""
        url = self._url + call.target
        content, about = call.payload()
        size = size_of(content)
        if size or (size is not None and call.method not in ("GET", "DELETE")):
            about |= {"Content-Length": str(size)}
        timeout = httpx.Timeout(CONNECT_S, read=call.silence_s, write=WRITE_S)
        given: dict[str, Any] = {"headers": call.headers | about, "timeout": timeout}
        if content is not None:
            given["content"] = _in_threads(content) if isinstance(content, Body | Form) else content
        with _in_words(url):
            request = self._http.build_request(call.method, url, **given)
            response = await self._http.send(request, stream=True, follow_redirects=follows)
        try:
            asked, named = str(response.request.url), dict(response.headers)
            yield Answer(asked, response.status_code, response.reason_phrase, named, response=response)
        finally:
            await response.aclose()


async def _in_threads(content: Body | Form) -> AsyncIterator[bytes]:
    while data := await asyncio.to_thread(content.read):
        yield data


@contextmanager
def _in_words(address: str) -> Iterator[None]:
    """Faults of the connection in the words of our errors."""
    url = str(httpx.URL(address).copy_with(raw_path=b"/")).rstrip("/")
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise _unreachable(url, error) from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise no_address(url, error) from None
    except httpx.RemoteProtocolError as error:
        raise BrokenOff(f"{url} ended the connection: {error}") from None
    except httpx.TimeoutException:
        raise late(url) from None
    except httpx.TransportError as error:
        raise BrokenOff(f"the connection to {url} broke: {error or type(error).__name__}") from None


def _unreachable(url: str, error: Exception) -> NoServer:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return not_trusted(url, cause.verify_message)
    if isinstance(cause, ssl.SSLError) or "SSL" in str(error):
        return no_tls(url, error)
    if isinstance(error, httpx.ConnectTimeout):
        return silent(url)
    return nobody(url, str(error).removeprefix("[Errno -2] ").removeprefix("[Errno 111] "))
