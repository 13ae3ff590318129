"""Trailers after an answer (RFC 9110, 6.5), and answers that break off: two things that uvicorn cannot say.

ASGI has a name for the first (`http.response.trailers`); the second is ours: who reads an answer whose end is
missing must not take it for a whole one."""

from typing import Any, Protocol

import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TRAILERS = "http.response.trailers"
BREAK_OFF = "hermes.response.break_off"


class Connection(Protocol):
    """As much of uvicorn's protocol as is needed here."""

    cycle: Any
    transport: Any


def with_trailers(app: ASGIApp, connection: Connection) -> ASGIApp:
    """The app, which may send both."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        cycle = connection.cycle
        scope.setdefault("extensions", {})[TRAILERS] = {}

        async def send_more(message: Message) -> None:
            if message["type"] == TRAILERS:
                _end(cycle, message["headers"])
            elif message["type"] == BREAK_OFF:
                cycle.disconnected = True
                connection.transport.close()
            else:
                await send(message)

        await app(scope, receive, send_more)

    return call


def _end(cycle: Any, headers: list[tuple[bytes, bytes]]) -> None:
    """What uvicorn does after the last piece of a body, with headers. HTTP/1.0 has no place for them."""
    if cycle.disconnected or cycle.response_complete:
        return
    can_say = cycle.scope["http_version"] == "1.1" and cycle.scope["method"] != "HEAD"
    cycle.transport.write(cycle.conn.send(h11.EndOfMessage(headers=headers if can_say else [])) or b"")
    cycle.response_complete = True
    cycle.message_event.set()
    if cycle.conn.our_state is h11.MUST_CLOSE or not cycle.keep_alive:
        cycle.conn.send(h11.ConnectionClosed())
        cycle.transport.close()
    cycle.on_response()
