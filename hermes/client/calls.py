"""Requests and their answers without a connection: what both clients share."""

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from hermes import __version__
from hermes.client.body import Body
from hermes.client.errors import (
    ApiError,
    BrokenOff,
    Forbidden,
    Missing,
    NoServer,
    OtherServer,
    ServerTrouble,
    TlsTrouble,
    TooLarge,
    TooOften,
    Unauthorized,
)

API = 1
_CONNECT_S, _WRITE_S = 15.0, 60.0
_KINDS: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: Missing,
    413: TooLarge,
    429: TooOften,
}


@dataclass(frozen=True)
class Call:
    """One request below `/api/v1`. `parts` make it a form with files."""

    method: str
    path: str
    params: Sequence[tuple[str, str]] = ()
    content: Body | bytes | None = None
    json: Any = None
    parts: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    silence_s: float | None = 30.0  # of the server, before it is given up; None: never

    def arguments(self, pieces: Callable[[Body | bytes | None], Any]) -> dict[str, Any]:
        """Of httpx. `pieces`: what its client of this kind takes as a content."""
        given: dict[str, Any] = {
            "method": self.method,
            "url": f"/api/v{API}{self.path}",
            "params": list(self.params),
            "headers": self.headers,
            "timeout": httpx.Timeout(_CONNECT_S, read=self.silence_s, write=_WRITE_S),
        }
        for name, value in (("content", pieces(self.content)), ("json", self.json), ("files", self.parts)):
            if value is not None:
                given[name] = value
        return given


def address_of(text: str) -> str:
    """The address of a server without what may follow it. Raises NoServer with the form of one."""
    parts = urlsplit("")
    try:
        parts = urlsplit(text.strip())
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise NoServer(f"{text[:80]!r} is not the address of a server", "write it as http://gpu.lab:8000")
    host = parts.netloc.rpartition("@")[2].lower()
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"


def quoted(path: str) -> str:
    """A path as a part of an address; its slashes stay."""
    return quote(path, safe="/")


def query_of(address: str) -> list[tuple[str, str]]:
    """Of the following page, as the server names it; its host is another one behind a proxy."""
    return parse_qsl(urlsplit(address).query)


def of_owner(name: str) -> dict[str, str]:
    """A filter of lists; none where nobody is named."""
    return {"owner": name} if name else {}


def part(path: str, params: list[tuple[str, str]], offset: int) -> Call:
    """Bytes from one on."""
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    return Call("GET", path, params, headers=headers)


def headers_of(token: str) -> dict[str, str]:
    """Of every request."""
    own = {"User-Agent": f"hermes/{__version__}", "Accept": "application/json"}
    return own | ({"Authorization": f"Bearer {token}"} if token else {})


def trust_of(url: str) -> ssl.SSLContext:
    """The system's certificates (and SSL_CERT_FILE). Reading them takes 17 ms: not for http."""
    if url.startswith("https:"):
        return ssl.create_default_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@contextmanager
def connected(url: str) -> Iterator[None]:
    """Faults of the connection in the words of our errors."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise _unreachable(url, error) from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise NoServer(f"{url} cannot be asked: {error}", "write it as http://gpu.lab:8000") from None
    except httpx.RemoteProtocolError as error:
        raise BrokenOff(f"{url} ended the connection: {error}") from None
    except httpx.TimeoutException:
        raise BrokenOff(f"{url} has not answered in time", "is it busy? try again") from None
    except httpx.TransportError as error:
        raise BrokenOff(f"the connection to {url} broke: {error or type(error).__name__}") from None


def _unreachable(url: str, error: Exception) -> NoServer:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        hint = "a private authority: set SSL_CERT_FILE to its certificate; for git: http.sslCAInfo"
        return TlsTrouble(f"the certificate of {url} is not trusted: {cause.verify_message}", hint)
    if isinstance(cause, ssl.SSLError) or "SSL" in str(error):
        http = url.replace("https:", "http:", 1)
        return TlsTrouble(f"{url} does not speak TLS as it should: {error}", f"is it {http}?")
    if isinstance(error, httpx.ConnectTimeout):
        return NoServer(f"{url} does not answer", "is the machine on, and in this network?")
    return NoServer(f"nothing answers at {url}: {_short(error)}", "is the address right, and the server up?")


def _short(error: Exception) -> str:
    return str(error).removeprefix("[Errno -2] ").removeprefix("[Errno 111] ")


def refusal(response: httpx.Response) -> Exception | None:
    """What an answer that has been read says no with, or None."""
    if response.is_success:
        return None
    if response.has_redirect_location:
        to = str(response.next_request.url) if response.next_request else response.headers["location"]
        return OtherServer(f"the server has moved to {to}", "hermes login with the new address")
    try:
        said = response.json()["error"]
        code, message, hint = str(said["code"]), str(said["message"]), str(said.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        return _foreign(response)
    kind = _KINDS.get(response.status_code) or (ServerTrouble if response.status_code >= 500 else ApiError)
    error = kind(message, hint, code=code, status=response.status_code)
    if isinstance(error, TooOften | ServerTrouble):
        after = response.headers.get("retry-after", "")
        error.wait_s = float(after) if after.isdecimal() else 1.0
    return error


def _foreign(response: httpx.Response) -> Exception:
    """No words of our API: another program, another version of it, or a proxy whose server is away."""
    where = str(response.request.url.copy_with(path="/", query=None))
    version = response.headers.get("x-hermes-version")
    if response.status_code in (502, 503, 504):
        words = f"a proxy answers at {where}, and the server behind it does not ({response.status_code})"
        return ServerTrouble(
            words, "try again, or ask the operator", code="proxy", status=response.status_code
        )
    if version:
        words = f"the server at {where} is hermes {version}, which has no API {API} as this one needs"
        return OtherServer(words, f"install hermes {version} here")
    words = f"what answers at {where} is no Hermes server ({response.status_code} {response.reason_phrase})"
    return OtherServer(words, "is the address right?")


def read(response: httpx.Response) -> Any:
    """The JSON of a good answer, if it has any. Raises what `refusal` says, or OtherServer."""
    if error := refusal(response):
        raise error
    if response.status_code == 204:
        return None
    try:
        return response.json()
    except ValueError:
        raise _foreign(response) from None


def check_version(said: Any) -> None:
    """Raises OtherServer where a server has another API than this client."""
    api, version = (said.get(name, "?") if isinstance(said, dict) else "?" for name in ("api", "version"))
    if api != API:
        words = f"the server is hermes {version} with API {api}; this is hermes {__version__} with API {API}"
        raise OtherServer(words, f"install hermes {version} here")


def transport_arguments(url: str) -> dict[str, Any]:
    """Of both transports: whom to trust, the system's proxy for this host, and a word now and then to a
    silent peer, so that one which is gone is noticed."""
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
    alive = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4)):
        if option := getattr(socket, name, None):  # not on every system
            alive.append((socket.IPPROTO_TCP, option, value))
    return {"verify": trust_of(url), "proxy": proxy, "socket_options": alive}
