"""Leases: who works on what, until when. An owner that falls silent loses its work to another attempt."""

import os
import re
import secrets
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.states import LIVE, Event, after_fault
from hermes.tables import Build, Rank
from hermes.transitions import move

_TABLES: tuple[type[Build], type[Rank]] = (Build, Rank)
W = TypeVar("W", bound=Build | Rank)
SILENT, KILLED = "that had it fell silent", "that had it was killed"
_STOPPED = "the service was stopped; it starts again with it"
CAUSES = ("silent", "killed", "stopped", "fault", "retry")  # why an attempt ended before its end
_OWN = re.compile(r"; retry \d+ of \d+$")  # of a program that its manifest lets try again
_MOST_RETRY_S = 60.0
_HOLDER = {Build: "the builder", Rank: "the runner"}


def new_owner() -> str:
    """A name for this process that no other process ever has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


async def take(session: AsyncSession, row: Build | Rank, owner: str, lease_s: float, **values: Any) -> bool:
    """Claim a queued row: its attempt counts up and fences everybody before. False: somebody else did."""
    until = time.time() + lease_s
    return await move(session, row, Event.CLAIM, lease_owner=owner, lease_until=until, **values)


async def renew(
    session: AsyncSession, table: type[Build] | type[Rank], owner: str, ids: Sequence[int], lease_s: float
) -> dict[int, int]:
    """Prolong the leases of `owner` on these; returns {id: attempt} of what is still its own. What it has let
    go of without being able to write it down is not among them, and is taken away in the end."""
    mine = (table.id.in_(ids), table.lease_owner == owner, table.state.in_(LIVE))
    await session.execute(update(table).where(*mine).values(lease_until=time.time() + lease_s))
    rows = await session.execute(select(table.id, table.attempt).where(*mine))
    return {row_id: attempt for row_id, attempt in rows.all()}


async def fault(session: AsyncSession, row: Build | Rank, reason: str, *, retry_in_s: float = 0.0) -> bool:
    """A fault of ours in this attempt: queue it again, or give it up when the attempts are used up."""
    assert retry_in_s <= _MOST_RETRY_S
    event = after_fault(row.faults + 1)
    return await move(session, row, event, reason, not_before=time.time() + retry_in_s)


def is_due(table: type[Build] | type[Rank], now: float | ColumnElement[float]) -> ColumnElement[bool]:
    """Whether it waits for its turn only, and not for a while after a fault. Such a while is short: what
    seems to wait longer was queued before the clock was set back."""
    return or_(table.not_before <= now, table.not_before > now + _MOST_RETRY_S)


async def expire(session: AsyncSession, until: float) -> int:
    """Take the work of silent owners away; returns how many leases that ended."""
    ended = 0
    for table in _TABLES:
        for row in await _held(session, table, table.lease_until < until):
            ended += await fault(session, row, f"{_HOLDER[table]} {SILENT}")
    return ended


async def expire_dead(session: AsyncSession, table: type[Build] | type[Rank]) -> int:
    """Take the builds (or ranks) of killed processes of this machine away at once: their leases need not run
    out. Only a builder (or a runner) may do that, after it has adopted what goes on."""
    ended = 0
    for row in await orphans(session, table):
        ended += await fault(session, row, f"{_HOLDER[table]} {KILLED}")
    return ended


async def orphans(session: AsyncSession, table: type[W]) -> list[W]:
    """What processes of this machine had that are not there any more."""
    here = table.lease_owner.startswith(f"{socket.gethostname()}:", autoescape=True)
    rows = await session.scalars(select(table).where(table.state.in_(LIVE), here))
    return [row for row in rows.all() if not is_alive(row.lease_owner)]


async def _held(
    session: AsyncSession, table: type[Build] | type[Rank], which: ColumnElement[bool]
) -> Sequence[Build | Rank]:
    """What somebody works on, as far as `which` holds; at most 200, the next pass sees the rest."""
    rows = await session.scalars(select(table).where(table.state.in_(LIVE), which).limit(200))
    return cast("Sequence[Build | Rank]", rows.all())


def is_alive(owner: str | None) -> bool:
    """Whether the process is there; of this machine. One that was killed and that init has not waited for yet
    (proc_pid_stat(5): Z, X) is not."""
    if owner is None:
        return True
    try:
        stat = Path(f"/proc/{owner.split(':')[-2]}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


async def let_go(session: AsyncSession, row: Build | Rank, keep_s: float) -> None:
    """Its program goes on without its process: for so long only an heir on this machine may have it."""
    row.lease_owner = f"{socket.gethostname()}:0:{secrets.token_hex(4)}"  # no process has that number
    row.lease_until = time.time() + keep_s
    await session.flush()


async def give_back(session: AsyncSession, row: Build | Rank) -> bool:
    """Queue it again because its process ends in good order: no fault of anybody, no attempt used up."""
    return await move(session, row, Event.REQUEUE, _STOPPED, faults=row.faults)


def cause_of(reason: str) -> str:
    """In one word (of `CAUSES`) why an attempt ended before its end, of the reason that its event gives."""
    ends = ((SILENT, "silent"), (KILLED, "killed"), (_STOPPED, "stopped"))
    found = next((cause for words, cause in ends if reason.endswith(words)), "fault")
    return "retry" if _OWN.search(reason) else found
