"""The outbox: messages to others, written in the transaction that they tell of and sent until they are taken.

Each is sent at least once; its key is in the message, so that who gets it twice can tell."""

import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.database import Database
from hermes.faultpoint import faultpoint
from hermes.journal import log
from hermes.outward import Undelivered
from hermes.tables import Outbox

#: How long after each failed try the next one follows; then it is given up.
WAITS_S = (2.0, 10.0, 60.0, 300.0, 1800.0, 7200.0, 21600.0, 43200.0)
_LEASE_S = 120.0  # of a try: whoever dies in it leaves the message to the next
_AT_ONCE = 20
_MOST_ERROR = 300
_TABLE = Outbox.__table__
_WAITS = (_TABLE.c.topic == bindparam("topic"), _TABLE.c.sent_at.is_(None), _TABLE.c.tries <= len(WAITS_S))
_DUE = (
    select(_TABLE.c.id)
    .where(*_WAITS, _TABLE.c.next_at <= bindparam("now"))
    .order_by(_TABLE.c.id)
    .limit(_AT_ONCE)
)
_FIRST_OF_LANES = (
    select(_TABLE.c.lane, func.min(_TABLE.c.id))
    .where(*_WAITS, _TABLE.c.next_at <= bindparam("now"))
    .group_by(_TABLE.c.lane)
    .order_by(func.min(_TABLE.c.id))
)
_NEXT = select(func.min(_TABLE.c.next_at)).where(*_WAITS)


class Hopeless(Undelivered):
    """It will never be taken: there is no other try."""


def put(session: AsyncSession, topic: str, key: str, payload: dict[str, Any], lane: str = "") -> None:
    """With what else this transaction writes."""
    now = time.time()
    session.add(Outbox(topic=topic, key=key, payload=payload, created_at=now, next_at=now, lane=lane))


async def resume(database: Database, topic: str) -> None:
    """Its one sender begins: whoever was at it before is gone, so all that waits is due now."""
    async with database.write() as session:
        waiting = (Outbox.topic == topic, Outbox.sent_at.is_(None), Outbox.tries <= len(WAITS_S))
        await session.execute(update(Outbox).where(*waiting).values(next_at=time.time()))


async def due(database: Database, topic: str) -> list[Outbox]:
    """Those whose time has come, for the caller alone."""
    now = time.time()
    ids = [row_id for (row_id,) in await database.read_at_once(lambda ask: ask(_DUE, topic=topic, now=now))]
    return await _take(database, ids, now)


async def due_by_lane(database: Database, topic: str, busy: Collection[str], most: int) -> list[Outbox]:
    """Of each lane that is not `busy` the oldest whose time has come: who waits for a slow receiver holds up
    that lane alone."""
    now = time.time()
    found = await database.read_at_once(lambda ask: ask(_FIRST_OF_LANES, topic=topic, now=now))
    return await _take(database, [row_id for lane, row_id in found if lane not in busy][:most], now)


async def next_at(database: Database, topic: str) -> float | None:
    """When the next one is due; None: none waits."""
    found = await database.read_at_once(lambda ask: ask(_NEXT, topic=topic))
    return None if found[0][0] is None else float(found[0][0])


async def _take(database: Database, ids: Sequence[int], now: float) -> list[Outbox]:
    if not ids:
        return []
    mine = []
    async with database.write() as session:
        for row in (await session.scalars(select(Outbox).where(Outbox.id.in_(ids)))).all():
            taken = await session.execute(
                update(Outbox)
                .where(Outbox.id == row.id, Outbox.tries == row.tries, Outbox.next_at == row.next_at)
                .values(next_at=now + _LEASE_S)
            )
            assert isinstance(taken, CursorResult)
            if taken.rowcount:
                mine.append(row)
    return mine


async def deliver(
    database: Database,
    row: Outbox,
    send: Callable[[Outbox], Awaitable[None]],
    also: Callable[[AsyncSession, Outbox], Awaitable[None]] | None = None,
) -> None:
    """One try, and what came of it; `also` writes more in the same transaction."""
    error, is_hopeless = "", False
    try:
        faultpoint(f"{row.topic}.sending")
        await send(row)
        faultpoint(f"{row.topic}.sent")
    except Undelivered as failure:
        error, is_hopeless = str(failure)[:_MOST_ERROR], isinstance(failure, Hopeless)
    now, tries = time.time(), len(WAITS_S) + 1 if is_hopeless else row.tries + 1
    wait_s = WAITS_S[tries - 1] if error and tries <= len(WAITS_S) else 0.0
    values = {"tries": tries, "error": error, "next_at": now + wait_s, "sent_at": None if error else now}
    async with database.write() as session:
        await session.execute(update(Outbox).where(Outbox.id == row.id).values(**values))
        tried = None if also is None else await session.get(Outbox, row.id)
        if also is not None and tried is not None:  # nobody has taken it back meanwhile
            await also(session, tried)
    if error:
        log.warning("message not taken", topic=row.topic, key=row.key, tries=tries, error=error)
    else:
        log.info("message taken", topic=row.topic, key=row.key, tries=tries)
