"""The work: whether runners show themselves, whether anything is stuck, and how long the queue is."""

import time
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.database import Database
from hermes.doctor.findings import Finding, note, ok, problem, warning
from hermes.doctor.schedules import look_at_schedules
from hermes.instance import FRESH_S
from hermes.quarantine import list_quarantined
from hermes.settings import Settings
from hermes.states import LIVE, State
from hermes.tables import Build, Push, Rank, Run, Runner
from hermes.units import show_span
from hermes.waiting import waiting_for

_LONG_S = 3600.0  # a run in the queue
_NO_BUILDER_S = 60.0
_HALF_PUSH_S = 180.0
_READ = "journalctl -u hermes -n 100; sudo systemctl restart hermes (runs start anew)"


@dataclass(frozen=True)
class Gpus:
    """What the rows say of GPUs: {UUID: reason} of those in quarantine, and those that runs hold."""

    quarantine: dict[str, str]
    held: frozenset[str]


async def gpus_in_rows(database: Database) -> Gpus:
    """Of all machines of the instance."""
    async with database.read() as session:
        away = await list_quarantined(session)
        slots = (await session.scalars(select(Rank.slot).where(Rank.state.in_(LIVE)))).all()
    held = frozenset(uuid for slot in slots for uuid in (slot or {}).get("gpus", ()))
    return Gpus({each.uuid: each.reason for each in away}, held)


async def look_at_work(settings: Settings, database: Database, is_up: bool) -> list[Finding]:
    """Four findings; with the service away it is no wonder that nothing moves."""
    async with database.read() as session:
        return [
            await _runners(session, is_up),
            await _stuck(session, settings, is_up),
            await _queue(session),
            await look_at_schedules(session, is_up),
        ]


async def _runners(session: AsyncSession, is_up: bool) -> Finding:
    now = time.time()
    rows = (await session.scalars(select(Runner).order_by(Runner.name))).all()
    words = [f"{row.name} ({row.executor}) seen {_ago(now - row.seen_at)}" for row in rows]
    found = ", ".join(words) or "none has ever shown itself"
    if any(row.seen_at > now - FRESH_S for row in rows):
        return ok("runners", found)
    return problem("runners", found, _READ) if is_up else note("runners", found, "hermes up starts one")


def _ago(span_s: float) -> str:
    return "just now" if span_s < FRESH_S else f"{show_span(span_s)} ago"


async def _stuck(session: AsyncSession, settings: Settings, is_up: bool) -> Finding:
    """What the reconciler should have put right long ago."""
    now = time.time()
    long_over = now - 2 * settings.lease
    found = []
    for name, table in (("build", Build), ("rank", Rank)):
        late = select(table.id).where(table.state.in_(LIVE), table.lease_until < long_over)
        found += [
            f"{name} {row_id} (its lease is long over)" for row_id in await session.scalars(late.limit(3))
        ]
    half = select(Push.id).where(Push.state == "received", Push.created_at < now - _HALF_PUSH_S)
    found += [f"push {row_id} (half done)" for row_id in await session.scalars(half.limit(3))]
    found += await _unbuilt(session, settings, now)
    if not found:
        return ok("stuck", "nothing")
    words = ", ".join(found)
    return problem("stuck", words, _READ) if is_up else note("stuck", words, "hermes up puts it right")


async def _unbuilt(session: AsyncSession, settings: Settings, now: float) -> list[str]:
    """A build that waits while a place is free: nobody claims it."""
    live = await session.scalar(select(func.count()).where(Build.state.in_(LIVE))) or 0
    if live >= settings.build_slots:
        return []
    oldest = select(Build).where(
        Build.state == State.QUEUED, Build.created_at < now - _NO_BUILDER_S, Build.not_before < now
    )
    build = await session.scalar(oldest.order_by(Build.id).limit(1))
    return [f"build {build.id} (queued for {show_span(now - build.created_at)})"] if build else []


async def _queue(session: AsyncSession) -> Finding:
    now = time.time()
    waiting = select(Run).where(Run.state == State.QUEUED)
    count = await session.scalar(select(func.count()).select_from(waiting.subquery())) or 0
    oldest = await session.scalar(waiting.order_by(Run.created_at).limit(1))
    if oldest is None:
        return ok("queue", "empty")
    waited_s = now - oldest.created_at
    found = f"{count} wait{'s' if count == 1 else ''}, run {oldest.id} the longest, for {show_span(waited_s)}"
    if waited_s < _LONG_S:
        return ok("queue", found)
    return warning("queue", f"{found}: {await waiting_for(session, oldest)}", "hermes gpus: who holds what")
