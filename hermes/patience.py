"""While the database is away: who streams cannot answer with an error any more, and need not. What they tell
of goes on meanwhile."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from hermes.columns import Base
from hermes.database import Database
from hermes.errors import Unavailable
from hermes.journal import log
from hermes.tasks import end

T = TypeVar("T")
R = TypeVar("R", bound=Base)
_AGAIN_S = 1.0


async def patiently(read: Callable[[], Awaitable[T]]) -> T:
    """What `read` returns when the database answers again; who does not want to wait cancels it."""
    waits = False
    while True:
        try:
            return await read()
        except Unavailable as error:
            if not waits:
                log.warning("a stream waits", error=str(error))
            waits = True
            await asyncio.sleep(_AGAIN_S)


async def read_patiently(database: Database, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """What `work` finds in a reading transaction; it may be called several times."""

    async def read() -> T:
        async with database.read() as session:
            return await work(session)

    return await patiently(read)


async def get_patiently(database: Database, table: type[R], row_id: int) -> R:
    """One row, which is known to be there."""
    return await read_patiently(database, lambda session: session.get_one(table, row_id))


async def with_signs(chunks: AsyncIterator[bytes], every_s: float) -> AsyncGenerator[bytes]:
    """The same, and an empty one whenever none has come for so long. Closing it ends what it waits for."""
    coming: asyncio.Task[bytes | None] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(_next(chunks))
            if not (await asyncio.wait({coming}, timeout=every_s))[0]:
                yield b""
                continue
            data, coming = coming.result(), None
            if data is None:
                return
            yield data
    finally:
        if coming is not None:
            await end(coming)


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)
