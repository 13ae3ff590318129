"""An answer that a generator makes while it is sent, and that closes it, also when the reader has gone.

Its files and children are not left to the garbage collector."""

from collections.abc import AsyncIterator, Generator
from contextlib import suppress

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from hermes.threads import in_thread


class Pieces(StreamingResponse):
    """`paced` passes the pieces on when they are to come at a pace of its own."""

    def __init__(
        self,
        pieces: Generator[bytes],
        headers: dict[str, str],
        media_type: str,
        paced: AsyncIterator[bytes] | None = None,
    ) -> None:
        super().__init__(pieces if paced is None else paced, headers=headers, media_type=media_type)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await in_thread(self._close)

    def _close(self) -> None:
        with suppress(ValueError):  # a piece that nobody waits for any more is still being made
            self._pieces.close()
