"""The only writer of states: one guarded UPDATE, one event row, one log line; runs follow their ranks."""

import time
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from hermes import notices, outbox
from hermes.at_once import Ask
from hermes.columns import Base
from hermes.journal import log
from hermes.removals import made_again
from hermes.reports import tell_build, tell_run
from hermes.states import LIVE, TERMINAL, Event, State, next_state, run_state
from hermes.tables import Build, Rank, Run
from hermes.tables import Event as EventRow

CALLBACK = "callback"  # a topic of the outbox
_NOTE = insert(Base.metadata.tables["event"])
_BUILD_END = {
    State.FAILED: Event.FAIL,
    State.TIMED_OUT: Event.FAIL,
    State.CANCELLED: Event.CANCEL,
    State.LOST: Event.LOSE,
}


def note(
    session: AsyncSession, kind: str, row_id: int, states: tuple[str, str], reason: str, attempt: int = 0
) -> None:
    """Append an event and say it in our log."""
    session.add(EventRow(**_event(kind, row_id, states, reason, attempt)))


def note_at_once(ask: Ask, kind: str, row_id: int, states: tuple[str, str], reason: str) -> None:
    """The same by a fixed statement."""
    ask(_NOTE, **_event(kind, row_id, states, reason, 0))


def _event(kind: str, row_id: int, states: tuple[str, str], reason: str, attempt: int) -> dict[str, Any]:
    """Its row, which is said."""
    details = {"attempt": attempt, "was": states[0], "reason": reason}
    log.info(f"{kind} {states[1]}", id=row_id, **{key: value for key, value in details.items() if value})
    return {
        "kind": kind,
        "subject_id": row_id,
        "attempt": attempt,
        "from_state": states[0],
        "to_state": states[1],
        "reason": reason,
        "at": time.time(),
    }


async def move(
    session: AsyncSession, row: Build | Rank, event: Event, reason: str = "", **values: Any
) -> bool:
    """Apply `event` to the row as it was read. False: somebody else moved it first, nothing was written.

    Raises Impossible where the table has no such step. `row` is brought up to date."""
    kind = row.__tablename__
    old, new, now = row.state, next_state(kind, row.state, event), time.time()
    values |= _times(event, new, now) | {"state": new, "reason": reason}
    if event in (Event.REQUEUE, Event.LOSE):
        values.setdefault("faults", row.faults + 1)
    if event is Event.CLAIM:
        values["attempt"] = row.attempt + 1
    table = type(row)
    changed = await session.execute(
        update(table)
        .where(table.id == row.id, table.state == old, table.attempt == row.attempt)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(changed, CursorResult)
    if changed.rowcount == 0:
        return False
    if event in (Event.RETRY, Event.REBUILD):  # what was removed of it is made again
        await made_again(session, row.id)
    await session.refresh(row)
    note(session, kind, row.id, (old, new), reason, row.attempt)
    await (_settle_run(session, row.run_id) if isinstance(row, Rank) else _settle_build(session, row))
    return True


async def rebuild(session: AsyncSession, build: Build) -> bool:
    """The image of a build is needed, and not there any more: the commit is."""
    return await move(
        session, build, Event.REBUILD, "its image was removed", faults=0, cancel_requested_at=None
    )


def _times(event: Event, new: State, now: float) -> dict[str, Any]:
    times: dict[str, Any] = {}
    if event is Event.CLAIM:
        times |= {"claimed_at": now, "started_at": None, "ended_at": None}
    if new in (State.RUNNING, State.BUILDING):
        times["started_at"] = now
    if new in TERMINAL:
        times["ended_at"] = now
    if event in (Event.RETRY, Event.REBUILD):
        times |= {"claimed_at": None, "started_at": None, "ended_at": None}
    if new not in LIVE:
        times |= {"lease_owner": None, "lease_until": None}
    return times


async def _settle_build(session: AsyncSession, build: Build) -> None:
    """A build that did not become an image ends the ranks that wait for it."""
    await tell_build(session, build)
    event = _BUILD_END.get(build.state)
    if event is None:
        return
    ranks = await session.scalars(
        select(Rank)
        .join(Run, Run.id == Rank.run_id)
        .where(Run.build_id == build.id, Rank.state == State.QUEUED)
    )
    words = f"build {build.id} {'timed out' if build.state is State.TIMED_OUT else build.state}"
    for rank in ranks.all():
        await move(session, rank, event, words)


async def _settle_run(session: AsyncSession, run_id: int) -> None:
    """A run's state, times and reason follow from its ranks."""
    run = (await session.scalars(select(Run).where(Run.id == run_id).with_for_update())).one()
    states = (await session.scalars(select(Rank.state).where(Rank.run_id == run_id).distinct())).all()
    old, new = run.state, run_state(list(states))
    if new == old:
        return
    first = select(Rank.reason).where(Rank.run_id == run_id, Rank.state == new, Rank.reason != "")
    run.state = new
    run.reason = await session.scalar(first.order_by(Rank.number).limit(1)) or ""
    if run.started_at is None and new is State.RUNNING:
        run.started_at = time.time()
    if new in TERMINAL:
        run.ended_at = time.time()
    note(session, "run", run.id, (old, new), run.reason)
    await tell_run(session, run)
    if new not in TERMINAL:
        return
    if run.callback_url:
        outbox.put(session, CALLBACK, f"run-{run.id}", {"run": run.id})
    await notices.tell(session, run)
