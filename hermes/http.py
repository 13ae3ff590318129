"""HTTP/1.1 for slow and rude clients: uvicorn's protocol with an end to every wait, and answers that arrive.

Uvicorn itself waits for ever for half a head, half a body and a reader that has stopped, and when it closes
with bytes of the request unread, the kernel resets the connection and the client loses the answer."""

import asyncio
import sys
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from hermes.http_connection import StrictConnection
from hermes.http_limits import HttpLimits, Patience, Peer
from hermes.http_trailers import with_trailers
from hermes.journal import log
from hermes.units import show_size


def http_protocol(limits: HttpLimits | None = None) -> type[asyncio.Protocol]:
    """What `uvicorn.Config(http=…)` wants."""

    class Protocol(PatientProtocol):
        """With these limits."""

        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop, limits=limits or HttpLimits())

    return Protocol


class Outlet(asyncio.Transport):
    """The connection as uvicorn sees it: when it closes it, the protocol decides how."""

    def __init__(self, real: asyncio.Transport, protocol: "PatientProtocol") -> None:
        super().__init__()
        self._real, self._protocol = real, protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._real.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._protocol.has_ended or self._real.is_closing()

    def close(self) -> None:
        self._protocol.end()

    def abort(self) -> None:
        self._real.abort()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.is_closing():
            self._real.write(data)

    def pause_reading(self) -> None:
        self._real.pause_reading()

    def resume_reading(self) -> None:
        self._real.resume_reading()


class PatientProtocol(H11Protocol):
    """One connection. Uvicorn does the work; this looks at the clock and ends things well."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: HttpLimits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = StrictConnection(limits.head_bytes)
        self.app = with_trailers(self.app, self)
        self.has_ended = False  # answered or refused for the last time: what still comes is dropped
        self._limits = limits
        self._head, self._body = Patience(limits.head_s), Patience(limits.body_s)
        self._silence, self._linger = Patience(limits.linger_silence_s), Patience(limits.linger_s)
        self._heads = 0  # begun
        self._in_head = False
        self._received = self._received_before_end = 0
        self._has_half_closed = False
        self._real: asyncio.Transport
        self._peer: Peer
        self._ticking: asyncio.TimerHandle | None = None

    # ---- what asyncio calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client."""
        self._real = transport
        self._peer = Peer(transport, self._limits)
        super().connection_made(Outlet(transport, self))
        self._tick()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        if self._ticking is not None:
            self._ticking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, or of one that is refused already."""
        self._received += len(data)
        if not self.has_ended:
            super().data_received(data)
            begins = self.conn.their_state is h11.IDLE
            self._heads += begins and not self._in_head
            self._in_head = begins
        elif self._received - self._received_before_end > self._limits.linger_bytes:
            self._real.close()

    # ---- what uvicorn calls

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP."""
        error = sys.exception()
        hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        if hint == 431 and (self.cycle is None or self.cycle.response_complete):
            words = f"the head of the request has more than {show_size(self._limits.head_bytes)}"
            return self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, words)
        self._refuse(HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1 request")

    def on_response_complete(self) -> None:
        """An answer given before its request was read is the connection's last: its rest could be endless."""
        self._in_head = False
        if self.conn.their_state is h11.SEND_BODY:
            self.end()
        super().on_response_complete()

    def shutdown(self) -> None:
        """The service stops. What works on has `shutdown_s`, then its app sees the client leave: uvicorn
        itself would cancel it in the middle a second later."""
        if self.cycle is None or self.cycle.response_complete:
            if not self.has_ended:
                self._real.close()
        else:
            super().shutdown()
        self.loop.call_later(self._limits.shutdown_s, self._real.abort)

    # ---- how it ends

    def end(self) -> None:
        """Close, and lose nothing that was said: with unread bytes, hear the client out first."""
        if self.conn.their_state in (h11.SEND_BODY, h11.ERROR) or self.conn.trailing_data[0]:
            self._hear_out()
        else:
            self._real.close()

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        """The last answer, if none has begun; whoever works on the request sees that the client is gone."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            body = "" if self.scope and self.scope["method"] == "HEAD" else f"{words}\n"
            self._real.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.flow.resume_writing()
        self._hear_out()

    def _hear_out(self) -> None:
        """As nginx's lingering_close: say that no more comes, then read and drop, within bounds."""
        if self.has_ended or self._real.is_closing():
            return
        self.has_ended = True
        self._received_before_end = self._received
        self._unset_keepalive_if_required()
        self._real.resume_reading()
        self._half_close()

    def _half_close(self) -> None:
        if self._has_half_closed or self._real.get_write_buffer_size():
            return
        self._has_half_closed = True
        try:
            self._real.write_eof()
        except OSError:  # reset by the client meanwhile
            self._real.abort()

    # ---- the clock

    def _tick(self) -> None:
        self._ticking = self.loop.call_later(self._limits.tick_s, self._tick)
        now = self.loop.time()
        if trouble := self._peer.trouble(now):
            self._log_cut(trouble)
            self._real.abort()
        elif self.has_ended:
            self._half_close()
            said = self._has_half_closed  # until then only the pace of its reading counts
            if self._linger.is_over(now, said, 0) or self._silence.is_over(now, said, self._received):
                self._real.close()
        else:
            self._look_at_request(now)

    def _look_at_request(self, now: float) -> None:
        if self._head.is_over(now, self._in_head or not self._received, self._heads):
            if not self._in_head:
                return self._real.close()  # a browser's spare connection
            self._log_cut("the head of the request did not come")
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the head of the request took too long")
        if self._body.is_over(now, self._owes_body(), self._received):
            self._log_cut("the body of the request stopped coming")
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the rest of the request did not come")

    def _owes_body(self) -> bool:
        """We want bytes: none lie here unread, and the client was told to send, if it asked."""
        if self.conn.their_state is not h11.SEND_BODY or self.flow.read_paused or self.cycle is None:
            return False
        return not self.cycle.body and not self.cycle.waiting_for_100_continue

    def _log_cut(self, why: str) -> None:
        log.info("connection cut", why=why, client="{}:{}".format(*(self.client or ("", 0))))
