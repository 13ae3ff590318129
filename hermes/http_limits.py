"""How long and how much we bear of a client, and what the kernel knows of the other end of a connection."""

import asyncio
import socket
import struct
from asyncio.trsock import TransportSocket
from dataclasses import dataclass


@dataclass(frozen=True)
class HttpLimits:
    """What a client may take. The defaults are those of every service; tests have less time."""

    head_bytes: int = 64 << 10  # request line and headers: above every real token, below what hurts
    head_s: float = 15.0  # from its first byte to its last: a person's browser needs one round trip
    body_s: float = 120.0  # without one byte of a body that we wait for: some clients compress after the head
    stall_s: float = 300.0  # without one byte taken of what we sent: stopped, longer than a look at a pager
    peer_s: float = 30.0  # without a sign of life from the other machine: closed laptop, cable out
    linger_s: float = 10.0  # in all, to hear a client out after an answer that it did not wait for …
    linger_silence_s: float = 2.0  # … which has most likely read it when it says nothing for so long
    linger_bytes: int = 64 << 20  # … and which does not read at all when it sends so much
    shutdown_s: float = 4.0  # for requests at work when the service stops: less than serve's grace
    unsent_bytes: int = 256 << 10  # in the kernel for each connection, not 4 MB: a stopped reader costs this
    tick_s: float = 1.0  # how often each connection is looked at; all times above are exact to about two


class Patience:
    """How long somebody has owed us something and made no progress with it."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since = 0.0
        self._progress: int | None = None

    def is_over(self, now: float, owes: bool, progress: int) -> bool:
        """To be asked now and then; the clock starts anew with every change of `progress`."""
        if not owes or progress != self._progress:
            self._since = now
            self._progress = progress if owes else None
        return owes and now - self._since >= self._limit_s


class Peer:
    """The other end, as our kernel sees it: what it has acknowledged, and whether it is there at all.

    Only the kernel can tell a slow reader from a stopped one: megabytes lie between our `send` and theirs.
    TCP_USER_TIMEOUT is not used for a peer that vanished, as it also cuts one that is there, answers, and
    has no room for more at the moment (measured on Linux 6.18)."""

    # struct tcp_info of Linux >= 4.6: unacked, last_ack_recv (ms), bytes_acked, notsent_bytes
    _INFO = struct.Struct("=24xI28xI60xQ16xI")

    def __init__(self, transport: asyncio.Transport, limits: HttpLimits) -> None:
        self._transport, self._limits = transport, limits
        self._stalled, self._vanished = Patience(limits.stall_s), Patience(limits.peer_s)
        found: TransportSocket = transport.get_extra_info("socket")
        self._socket = found if found.family in (socket.AF_INET, socket.AF_INET6) else None
        if self._socket is not None:
            _keep_alive(self._socket, limits.peer_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, limits.unsent_bytes)

    def trouble(self, now: float) -> str:
        """Why the connection has to be cut; empty: it need not."""
        if self._socket is None:
            return ""
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, self._INFO.size)
        unacked, silent_ms, acked, unsent = self._INFO.unpack(info)
        waits = bool(unacked or unsent or self._transport.get_write_buffer_size())
        if self._vanished.is_over(now, unacked > 0, acked) and silent_ms >= self._limits.peer_s * 1000:
            return "the client has vanished"
        if self._stalled.is_over(now, waits, acked):
            return "the client has stopped reading"
        return ""


def _keep_alive(connection: TransportSocket, peer_s: float) -> None:
    """Probes while nothing is sent: a third of the time silent, then four probes."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, round(peer_s / 3)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, round(peer_s / 6)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
