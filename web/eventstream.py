"""A stream of server-sent events over HTTP: kept alive, ended when nobody reads it.

One task sends and one listens for the end of the connection. sse-starlette does this with five tasks, and
encodes each event for each viewer, which a crowd pays for with every line (docs/performance.md)."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from web.frames import PING

_PING_S = 10.0  # at the next occasion
_SEND_TIMEOUT_S = 30.0  # a viewer that does not read for so long is let go; it resumes when it comes back
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class StoppedReading(TimeoutError):
    """The viewer takes nothing any more."""


class EventStream(Response):
    """Sends what `events` yields; an empty piece is an occasion to say that it lives.

    `leave` makes `events` end."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], leave: Callable[[], None]) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._events, self._leave = events, leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            listening = asyncio.create_task(self._listen(receive))
            try:
                async with aclosing(self._events) as events:
                    await self._send_all(events, send)
            finally:
                listening.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def _send_all(self, events: AsyncGenerator[bytes], send: Send) -> None:
        sent_at = time.monotonic()
        async for data in events:
            now = time.monotonic()
            if not data and now - sent_at < _PING_S:
                continue
            sent_at = now
            try:
                async with asyncio.timeout(_SEND_TIMEOUT_S):
                    await send({"type": "http.response.body", "body": data or PING, "more_body": True})
            except TimeoutError as error:
                raise StoppedReading from error

    async def _listen(self, receive: Receive) -> None:
        """Until the client leaves."""
        with suppress(asyncio.CancelledError):
            while (await receive())["type"] != "http.disconnect":
                pass
            self._leave()
