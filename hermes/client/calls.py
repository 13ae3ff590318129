"""Requests and their answers without a connection: what both clients share."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

from hermes import __version__
from hermes.client.body import Body, Content, Form, Part
from hermes.client.errors import (
    ApiError,
    ClientError,
    Forbidden,
    Missing,
    NoServer,
    OtherServer,
    ServerTrouble,
    TooLarge,
    TooOften,
    Unauthorized,
)

API = 1
CONNECT_S, WRITE_S = 15.0, 60.0
#: A silent peer is asked whether it is there after 20 s, then every 10 s, four times.
ALIVE = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4))
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
    parts: Sequence[Part] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    silence_s: float | None = 30.0  # of the server, before it is given up; None: never

    @property
    def target(self) -> str:
        """Path and query, below the address of the server."""
        query = urlencode(self.params)
        return f"/api/v{API}{self.path}{'?' if query else ''}{query}"

    def payload(self) -> tuple[Content, dict[str, str]]:
        """What is sent, and what is said about it."""
        if self.parts is not None:
            form = Form(self.parts)
            return form, {"Content-Type": form.media_type}
        if self.json is not None:
            return json.dumps(self.json).encode(), {"Content-Type": "application/json"}
        return self.content, {}


@dataclass
class Reply:
    """What came of a call that was sent to `url`; `headers` by lower-case names, `body` once it was read."""

    url: str
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def moved_to(self) -> str:
        """The whole address; empty: it is no redirection."""
        to = self.headers.get("location", "") if self.status in (301, 302, 303, 307, 308) else ""
        return to and urljoin(self.url, to)


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


def check_header(name: str, value: str) -> None:
    """Raises ClientError where it cannot be sent."""
    if not value.isascii() or not value.isprintable():
        raise ClientError(
            f"{name}: {value[:40]!r} has characters that cannot be sent there", "letters, digits, -_."
        )


def proxy_of(url: str) -> str:
    """The system's proxy for this host. What finds it takes 20 ms to import: only where there may be one."""
    has_variables = any(name.lower().endswith("_proxy") for name in os.environ)
    if not has_variables and sys.platform not in ("darwin", "win32"):
        return ""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    return "" if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme, "")


def refusal(reply: Reply) -> Exception | None:
    """What an answer that has been read says no with, or None."""
    if reply.is_good:
        return None
    if reply.moved_to:
        return OtherServer(f"the server has moved to {reply.moved_to}", "hermes login with the new address")
    try:
        said = json.loads(reply.body)["error"]
        code, message, hint = str(said["code"]), str(said["message"]), str(said.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        return _foreign(reply)
    kind = _KINDS.get(reply.status) or (ServerTrouble if reply.status >= 500 else ApiError)
    error = kind(message, hint, code=code, status=reply.status)
    if isinstance(error, TooOften | ServerTrouble):
        after = reply.headers.get("retry-after", "")
        error.wait_s = float(after) if after.isdecimal() else 1.0
    return error


def _foreign(reply: Reply) -> Exception:
    """No words of our API: another program, another version of it, or a proxy whose server is away."""
    where = urljoin(reply.url, "/")
    version = reply.headers.get("x-hermes-version")
    if reply.status in (502, 503, 504):
        words = f"a proxy answers at {where}, and the server behind it does not ({reply.status})"
        return ServerTrouble(words, "try again, or ask the operator", code="proxy", status=reply.status)
    if version:
        words = f"the server at {where} is hermes {version}, which has no API {API} as this one needs"
        return OtherServer(words, f"install hermes {version} here")
    words = f"what answers at {where} is no Hermes server ({reply.status} {reply.reason})"
    return OtherServer(words, "is the address right?")


def read(reply: Reply) -> Any:
    """The JSON of a good answer, if it has any. Raises what `refusal` says, or OtherServer."""
    if error := refusal(reply):
        raise error
    if reply.status == 204:
        return None
    try:
        return json.loads(reply.body)
    except ValueError:
        raise _foreign(reply) from None


def check_version(said: Any) -> None:
    """Raises OtherServer where a server has another API than this client."""
    api, version = (said.get(name, "?") if isinstance(said, dict) else "?" for name in ("api", "version"))
    if api != API:
        words = f"the server is hermes {version} with API {api}; this is hermes {__version__} with API {API}"
        raise OtherServer(words, f"install hermes {version} here")
