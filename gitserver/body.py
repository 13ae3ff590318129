"""The bytes of one request: bounded in size and time, inflated, with what was read ahead put back."""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.requests import Request

from hermes.errors import TooLarge, TooSlow, UserError
from hermes.units import show_limit, show_size

_SLOW_AFTER_S = 60.0
_LEAST_BYTES_PER_S = 1024


class Body:
    """Bytes that a client sends, in order. One reader at a time.

    Raises TooSlow when they take longer than `limit_s`, or after a minute come at less than 1 KiB/s: a
    repository's lock and a git program are not held for somebody who sends a byte now and then."""

    def __init__(self, chunks: AsyncIterator[bytes], limit_s: float) -> None:
        self._chunks, self._limit_s = chunks, limit_s
        self._began = time.monotonic()
        self._size = 0
        self._ahead = b""
        self._until: Callable[[], Awaitable[None]] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._until is not None:
            until, self._until = self._until, None
            await until()
        if ahead := self._ahead:
            self._ahead = b""
            return ahead
        passed = time.monotonic() - self._began
        if passed > _SLOW_AFTER_S and self._size < passed * _LEAST_BYTES_PER_S:
            raise TooSlow(f"the push comes at less than {_LEAST_BYTES_PER_S} bytes a second", "push again")
        try:
            async with asyncio.timeout(max(self._limit_s - passed, 0)):
                chunk = await anext(self._chunks)
        except TimeoutError:
            raise TooSlow(
                f"the push took longer than {show_limit(self._limit_s)} to arrive", "push it in parts"
            ) from None
        self._size += len(chunk)
        return chunk

    def put_back(self, data: bytes) -> None:
        """To be read again first."""
        self._ahead = data + self._ahead

    def hold_until(self, done: Callable[[], Awaitable[None]]) -> None:
        """Who wants the next bytes waits for this first; its error comes instead of them, once."""
        self._until = done

    def enough(self) -> None:
        """Git has all it needs. Over HTTP the rest is still read: clients listen only then."""

    async def discard(self) -> None:
        """Read the rest and forget it: clients listen to an answer only when all of theirs was taken."""
        async for _ in self:
            pass


def declared_bytes(request: Request) -> int | None:
    """How many are to come, before inflating; None: it comes in pieces."""
    declared = request.headers.get("content-length", "")
    return int(declared[:20]) if declared.isdecimal() else None


async def read_body(
    request: Request, limit_bytes: int, what: str, spare_bytes: int = 0
) -> AsyncIterator[bytes]:
    """The chunks as they come; `spare_bytes` on top are not spoken of. Raises TooLarge, or UserError for what
    cannot be inflated."""
    declared = declared_bytes(request)
    if declared is not None and declared > limit_bytes + spare_bytes:
        raise too_large(what, limit_bytes)  # at once: nobody waits for the end of a terabyte
    inflate = zlib.decompressobj(31) if request.headers.get("content-encoding") == "gzip" else None
    size = 0
    stream = request.stream()
    async for chunk in stream:
        while chunk:
            try:
                part = inflate.decompress(chunk, 1 << 20) if inflate else chunk
            except zlib.error:
                raise UserError("the request says that it is gzip, and is not") from None
            chunk = inflate.unconsumed_tail if inflate else b""
            if chunk:  # a few bytes stand for very many: others have their turn in between
                await asyncio.sleep(0)
            size += len(part)
            if size > limit_bytes + spare_bytes:
                await _drain(stream, limit_bytes)
                raise too_large(what, limit_bytes)
            if part:
                yield part


async def _drain(stream: AsyncIterator[bytes], limit_bytes: int) -> None:
    """What a well-meaning client still sends; not more than once over what is allowed."""
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > limit_bytes:
            return


def too_large(what: str, limit_bytes: int) -> TooLarge:
    """In words."""
    return TooLarge(f"the {what} has more than {show_size(limit_bytes)}", "push less at a time")
