"""Requests of ours to addresses that users name: to the public internet only, whatever names resolve to.

The address is looked at when it is connected to, so a name that means something else a moment later does not
lead inward; redirects are not followed, proxies not used, answers not read beyond a bound. (OWASP,
"Server-Side Request Forgery Prevention".)"""

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpcore

from hermes.errors import HermesError, UserError

_CONNECT_S, _ANSWER_S = 10.0, 30.0
_MOST_URL = 2000
_FAILURES = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, TimeoutError)
_PORTS = {"http": 80, "https": 443}


class Undelivered(HermesError):
    """It did not arrive, or was not taken; later it may. `wait_s`: not before then, as its receiver says, and
    it counts as no try; `least_s`: it does, and the next one is not sooner; `is_final`: it never will be."""

    wait_s: float | None = None
    least_s = 0.0
    is_final = False


@dataclass(frozen=True)
class Answer:
    """What came back; `headers` by lower-case names, of several the last."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Inward(Undelivered):
    """Its address is not on the public internet, and not one that the operator has allowed."""


def parse_networks(text: str) -> tuple[Any, ...]:
    """Of a setting: addresses and networks by commas."""
    return tuple(ipaddress.ip_network(each.strip()) for each in text.split(",") if each.strip())


def check_url(url: str, allowed: Iterable[Any]) -> None:
    """What can be said before it is connected to. Raises UserError."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        parts, port = urlsplit(""), 0
    if (
        parts.scheme not in _PORTS
        or not parts.hostname
        or not port
        or len(url) > _MOST_URL
        or not url.isascii()
    ):
        raise UserError(
            f"{url[:200]!r} is no address to call back", "for example https://lab.example.org/hermes"
        )
    if parts.username is not None or parts.password is not None:
        raise UserError("an address to call back has no user and password", "put a token into its query")
    try:
        address = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return
    if not _may_reach(address, allowed):
        raise UserError(
            f"{address} is not on the public internet", "the operator can allow it (HERMES_CALLBACK_NETWORKS)"
        )


def _may_reach(address: Any, allowed: Iterable[Any]) -> bool:
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(mapped in network for network in allowed) or (mapped.is_global and not mapped.is_multicast)


async def resolve(host: str, port: int, allowed: Iterable[Any]) -> list[str]:
    """The addresses that a name means now, those outside. Raises Undelivered when there are none."""
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise Undelivered(f"{host} is not known: {why}") from None
    addresses = dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found)
    outside = [each for each in addresses if _may_reach(ipaddress.ip_address(each), allowed)]
    if not outside:
        raise Inward(f"{host} is not on the public internet (HERMES_CALLBACK_NETWORKS)")
    return outside


def is_allowed(address: str, allowed: Iterable[Any]) -> bool:
    """Whether the operator has named it (HERMES_CALLBACK_NETWORKS)."""
    return any(ipaddress.ip_address(address) in network for network in allowed)


class _Outside(httpcore.AnyIOBackend):
    """Connects to what a name means now, if that is outside."""

    def __init__(self, allowed: Iterable[Any]) -> None:
        self._allowed = tuple(allowed)

    async def connect_tcp(self, host: str, port: int, *args: Any, **more: Any) -> httpcore.AsyncNetworkStream:
        try:
            outside = await resolve(host, port, self._allowed)
        except Undelivered as error:
            raise httpcore.ConnectError(str(error)) from None
        return await super().connect_tcp(outside[0], port, *args, **more)


async def post(url: str, body: bytes, headers: Mapping[str, str], allowed: Iterable[Any]) -> Answer:
    """The answer without its body. Raises Undelivered when there is none."""
    return await request("POST", url, headers, allowed, body=body, most_bytes=0)


async def request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    allowed: Iterable[Any],
    *,
    body: bytes = b"",
    most_bytes: int,
) -> Answer:
    """The answer with so much of its body at most. Raises Undelivered when there is none, or a longer one."""
    waits = {"connect": _CONNECT_S, "read": _ANSWER_S, "write": _ANSWER_S, "pool": _CONNECT_S}
    more: dict[str, Any] = {"content": body, "extensions": {"timeout": waits}}
    more["headers"] = {"Host": urlsplit(url).netloc, "Content-Length": str(len(body)), **headers}
    try:
        async with httpcore.AsyncConnectionPool(network_backend=_Outside(allowed)) as pool:
            with anyio.fail_after(_CONNECT_S + _ANSWER_S):
                async with pool.stream(method, url, **more) as answer:
                    heads = {
                        name.decode("latin-1").lower(): value.decode("latin-1")
                        for name, value in answer.headers
                    }
                    return Answer(int(answer.status), heads, await _read(answer, most_bytes))
    except (*_FAILURES, OSError) as error:
        raise Undelivered(str(error) or type(error).__name__) from None


async def _read(answer: httpcore.Response, most_bytes: int) -> bytes:
    if not most_bytes:
        return b""
    parts, size = [], 0
    async for part in answer.aiter_stream():
        parts.append(part)
        size += len(part)
        if size > most_bytes:
            raise Undelivered(f"the answer is longer than {most_bytes} bytes")
    return b"".join(parts)
