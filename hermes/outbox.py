"""The outbox: messages to others, written in the transaction that they tell of and sent until they are taken.

Each is sent at least once; its key is in the message, so that who gets it twice can tell."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, func, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.database import Database
from hermes.errors import Unavailable
from hermes.faultpoint import faultpoint
from hermes.journal import log
from hermes.outward import Undelivered
from hermes.tables import NoticeAttempt, Outbox

#: How long after each failed try the next one follows; then it is given up.
WAITS_S = (2.0, 10.0, 60.0, 300.0, 1800.0, 7200.0, 21600.0, 43200.0)
_LEASE_S = 120.0  # of a try: whoever dies in it leaves the message to the next
_AT_ONCE = 20
_WRITE_AGAIN_S = 2.0
_MOST_ERROR = 300
_FORGET_AT_ONCE = 1000
_PATIENCE_S = 7 * 86400.0  # with receivers that say how long to wait: their waits count as no tries
_TABLE = Outbox.__table__
#: Of a message: another try follows, or none does. `is_given_up` asks a row.
WAITING = (Outbox.sent_at.is_(None), Outbox.tries <= len(WAITS_S))
IS_OVER = or_(Outbox.sent_at.is_not(None), Outbox.tries > len(WAITS_S))
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

    is_final = True


def is_given_up(row: Outbox) -> bool:
    """It was not taken, and no other try follows."""
    return row.sent_at is None and row.tries > len(WAITS_S)


def put(session: AsyncSession, topic: str, key: str, payload: dict[str, Any], lane: str = "") -> None:
    """With what else this transaction writes."""
    now = time.time()
    session.add(Outbox(topic=topic, key=key, payload=payload, created_at=now, next_at=now, lane=lane))


async def resume(database: Database, topic: str) -> None:
    """Its one sender begins: whoever was at it before is gone, so what they may have had in hand is due now.
    What is to wait longer than a try may take goes on waiting: a restart takes away no receiver's limit."""
    now = time.time()
    async with database.write() as session:
        waiting = (Outbox.topic == topic, *WAITING)
        soon = Outbox.next_at <= now + _LEASE_S
        await session.execute(update(Outbox).where(*waiting, soon).values(next_at=now))


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


async def count_old(session: AsyncSession, before: float) -> int:
    """How many `forget_old` would forget."""
    return await session.scalar(select(func.count()).select_from(Outbox).where(*_is_old(before))) or 0


async def forget_old(database: Database, before: float) -> int:
    """Those that were taken, or given up, before this moment; how many. What waits stays, and what stands in
    the log of a notification, from where it can be sent again."""
    count = 0
    while True:
        async with database.read() as session:  # who has nothing to forget does not write
            found = select(Outbox.id).where(*_is_old(before)).limit(_FORGET_AT_ONCE)
            ids = (await session.scalars(found)).all()
        if not ids:
            return count
        async with database.write() as session:
            await session.execute(delete(Outbox).where(Outbox.id.in_(ids), *_is_old(before)))
        count += len(ids)


def _is_old(before: float) -> tuple[ColumnElement[bool], ...]:
    shown = select(NoticeAttempt.outbox_id).where(NoticeAttempt.outbox_id.is_not(None))
    ended_before = Outbox.next_at < before  # of what is over: when that was
    return IS_OVER, ended_before, Outbox.id.not_in(shown)


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
    """One try, and what came of it; `also` writes more in the same transaction. While our database is away
    that waits to be written down; if it does for longer than the lease, the message is due again."""
    failed, until = await _try(row, send), time.monotonic() + _LEASE_S / 2
    values = _taken(row) if failed is None else _not_taken(row, failed)
    while True:
        try:
            return await _write(database, row, values, also)
        except Unavailable as error:
            log.warning("message left for later", topic=row.topic, key=row.key, error=str(error))
            if time.monotonic() > until:
                return
        await asyncio.sleep(_WRITE_AGAIN_S)


async def _try(row: Outbox, send: Callable[[Outbox], Awaitable[None]]) -> Undelivered | None:
    """None: it was taken."""
    try:
        faultpoint(f"{row.topic}.sending")
        await send(row)
        faultpoint(f"{row.topic}.sent")
    except Undelivered as failure:
        return failure
    except Unavailable as error:  # our own database
        later = Undelivered(str(error))
        later.wait_s = _WRITE_AGAIN_S
        return later
    return None


async def _write(
    database: Database,
    row: Outbox,
    values: dict[str, Any],
    also: Callable[[AsyncSession, Outbox], Awaitable[None]] | None,
) -> None:
    async with database.write() as session:
        await session.execute(update(Outbox).where(Outbox.id == row.id).values(**values))
        tried = None if also is None else await session.get(Outbox, row.id)
        if also is not None and tried is not None:  # nobody has taken it back meanwhile
            await also(session, tried)
    if values["error"]:
        log.warning("message not taken", topic=row.topic, key=row.key, **_to_say(values))
    else:
        log.info("message taken", topic=row.topic, key=row.key, tries=values["tries"])


def _taken(row: Outbox) -> dict[str, Any]:
    now = time.time()
    return {"tries": row.tries + 1, "error": "", "next_at": now, "sent_at": now}


def _not_taken(row: Outbox, failed: Undelivered) -> dict[str, Any]:
    """When the next try is, if there is one."""
    now, tries = time.time(), row.tries + 1
    wait_s = max(WAITS_S[row.tries], failed.least_s) if row.tries < len(WAITS_S) else 0.0
    if failed.is_final:
        tries = len(WAITS_S) + 1
    elif failed.wait_s is not None and now - row.created_at < _PATIENCE_S:
        tries, wait_s = row.tries, failed.wait_s
    error = (str(failed) or "it was not taken")[:_MOST_ERROR]
    return {"tries": tries, "error": error, "next_at": now + wait_s, "sent_at": None}


def _to_say(values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in ("tries", "error")}
