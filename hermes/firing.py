"""What comes of a schedule that is due: a run, once, or words why not; many of them in one transaction."""

import time
from dataclasses import dataclass
from typing import NamedTuple
from zoneinfo import ZoneInfoNotFoundError

from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.at_once import Ask, ask_in
from hermes.audit import Actor, write_down_at_once
from hermes.cause import Cause, Sender
from hermes.columns import Base
from hermes.cron import NotCron, next_time, show_time
from hermes.due import Known, earlier, know, newest, usable
from hermes.errors import NotFound, Refused
from hermes.fairness import check_room
from hermes.faultpoint import faultpoint
from hermes.journal import log
from hermes.plan import Plan
from hermes.pushes import build_for
from hermes.queueing import queue
from hermes.settings import Settings
from hermes.tables import Build, Push, User
from hermes.trust import check_trusted_at_once

TRIGGER = "schedule"
MOST_COUNTED = 100  # of those that were missed: counting takes time, in which nobody else can write
_TABLE = Base.metadata.tables["schedule"]
_THIS = _TABLE.c.id == bindparam("row")
_CLAIM = (
    update(_TABLE)
    .where(_THIS, _TABLE.c.next_at == bindparam("due"), _TABLE.c.paused_at.is_(None))
    .values(next_at=bindparam("following"), last_at=bindparam("due"), outcome=bindparam("words"))
    .returning(_TABLE.c.id)
)
_SAY = update(_TABLE).where(_THIS).values(outcome=bindparam("words"))
_RAN = update(_TABLE).where(_THIS).values(last_run_id=bindparam("run"))
_PAUSE = (
    update(_TABLE)
    .where(_THIS)
    .values(paused_at=bindparam("now"), paused_by="", paused_why=bindparam("words"))
)


class Due(NamedTuple):
    """A schedule, and when it is."""

    id: int
    at: float


@dataclass(frozen=True)
class Fired:
    """What came of it. `is_later`: nothing was written, it needs its build, or the end of a run, first."""

    run_id: int = 0
    is_later: bool = False


class _Able(NamedTuple):
    """What can be run now, or words why nothing is."""

    build: Build | None = None
    plan: Plan | None = None
    words: str = ""
    is_later: bool = False


def start(ask: Ask, settings: Settings, known: Known, build: Build, plan: Plan, sender: Sender) -> int:
    """Its run is queued. Raises Refused."""
    check_trusted_at_once(ask, settings, sender.user_id)
    check_room(ask, settings, sender.user_id, len(plan.ranks), "this run")
    run_id = queue(ask, build, plan, sender)
    ask(_RAN, row=known.id, run=run_id)
    return run_id


def fire(ask: Ask, settings: Settings, due: Due, now: float) -> Fired:
    """Claim what is due, and do it. Whoever comes second to the same tick finds nothing to do."""
    known = know(ask, due.id)
    if known is None or known.paused_at is not None or known.next_at != due.at:
        return Fired()
    if known.why_not:
        return _pause(ask, known, known.why_not)
    try:
        following, missed = _following(known, now)
    except (
        NotCron,
        ZoneInfoNotFoundError,
    ) as error:  # of another version of us, of a machine with fewer zones
        return _pause(ask, known, f"it cannot be read here: {error}")
    able = _look(ask, known)
    if able.is_later:
        return Fired(is_later=True)
    if not ask(_CLAIM, row=known.id, due=due.at, following=following, words=able.words):
        return Fired()
    faultpoint("schedule.claimed")
    if able.build is None or able.plan is None:
        log.info("schedule skipped", id=known.id, repo=known.name, reason=able.words)
        return Fired()
    sender = Sender(known.user_id, TRIGGER, _cause(known, missed, now))
    try:
        return Fired(start(ask, settings, known, able.build, able.plan, sender))
    except Refused as error:
        ask(_SAY, row=known.id, words=sentence(error))
        log.info("schedule refused", id=known.id, repo=known.name, reason=str(error))
        return Fired()


def _look(ask: Ask, known: Known) -> _Able:
    """What it would run now."""
    before = earlier(ask, known)
    if before and known.overlap == "skip":
        return _Able(words=f"skipped: run {before} has not ended")
    try:
        what = newest(ask, known)
    except Refused as error:
        return _Able(words=sentence(error))
    build = usable(ask, known, what)
    return _Able(build, what.plan, is_later=build is None or bool(before and known.overlap == "cancel"))


async def make_usable(session: AsyncSession, known: Known) -> tuple[Build, Plan]:
    """What it runs, whose build is queued if it has no image: as a push would. Raises Refused."""
    what = await session.run_sync(lambda plain: newest(ask_in(plain), known))
    build = await session.run_sync(lambda plain: usable(ask_in(plain), known, what))
    if build is None:
        push = await session.get_one(Push, what.push_id)
        build = await build_for(session, push, what.plan, f"the schedule {known.cron} needs it")
    await session.flush()
    return build, what.plan


async def start_now(session: AsyncSession, settings: Settings, schedule_id: int, by: User) -> int:
    """A person does not want to wait for the next time: a run of theirs, whatever runs and whether it is
    paused or not. Raises NotFound, Refused."""
    known = await session.run_sync(lambda plain: know(ask_in(plain), schedule_id))
    if known is None:
        raise NotFound("there is no such schedule any more", "load the page again: somebody has pushed")
    build, plan = await make_usable(session, known)
    cause = Cause(f"schedule {known.cron}, started now by {by.name}", known.page)
    sender = Sender(by.id, TRIGGER, cause)
    return await session.run_sync(lambda plain: start(ask_in(plain), settings, known, build, plan, sender))


def _following(known: Known, now: float) -> tuple[float, int]:
    """When it is due after now; and how many times it was since, besides this one."""
    following, missed = next_time(known.cron, known.timezone, now), 0
    at = known.next_at
    while missed < MOST_COUNTED and (at := next_time(known.cron, known.timezone, at)) <= now:
        missed += 1
    return following, missed


def _cause(known: Known, missed: int, now: float) -> Cause:
    words = f"schedule {known.cron}, due {show_time(known.next_at, known.timezone, now)}"
    if missed:
        words += f", {'at least ' * (missed >= MOST_COUNTED)}{missed} more missed"
    return Cause(words, known.page)


def _pause(ask: Ask, known: Known, why: str) -> Fired:
    ask(_PAUSE, row=known.id, now=time.time(), words=why)
    write_down_at_once(ask, Actor("", TRIGGER), "schedule paused", known.name, f"{known.cron}: {why}")
    log.warning("schedule paused", id=known.id, repo=known.name, reason=why)
    return Fired()


def sentence(error: Refused) -> str:
    """Why not, and the next step."""
    return f"{error} ({error.hint})" if error.hint else str(error)
