"""The body of a request as bounded, inflated chunks; one reader at a time."""

import zlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from hermes.errors import UserError
from hermes.units import show_size


class TooLarge(UserError):
    """More bytes than the limit, counted after inflating."""

    code = "too_large"
    status = 413


async def read_body(request: Request, limit_bytes: int) -> AsyncIterator[bytes]:
    """The chunks as they come. Raises TooLarge, or UserError for what cannot be inflated."""
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
            size += len(part)
            if size > limit_bytes:
                await drain(stream)
                raise TooLarge(f"the request has more than {show_size(limit_bytes)}", "push less at a time")
            if part:
                yield part


async def drain(chunks: AsyncIterator[bytes]) -> None:
    """Read the rest and forget it: clients listen to an answer only when all of theirs was taken."""
    async for _ in chunks:
        pass


async def after(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What was read already, then the rest."""
    yield head
    async for chunk in chunks:
        yield chunk
