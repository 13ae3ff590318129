"""Fires schedules when they are due: at the second, once, also what came while nobody was there.

It sleeps until the next one is due or others are there, and reads nothing meanwhile. A clock that is set
forward is noticed within seconds; one that is set back, at once when somebody looks: then what is due next is
found anew, and what a clock shows a second time within three hours does not come twice."""

import time
from contextlib import suppress
from typing import Protocol
from zoneinfo import ZoneInfoNotFoundError

from sqlalchemy import bindparam, func, select, update

from hermes.at_once import Ask, ask_in
from hermes.columns import Base
from hermes.cron import NotCron, next_time
from hermes.due import earlier, know
from hermes.errors import Unavailable
from hermes.faultpoint import faultpoint
from hermes.firing import Due, Fired, fire, make_usable
from hermes.journal import log
from hermes.process import Context
from hermes.queue import BUILDS, CHANGED, RANKS, SCHEDULES, Bell
from hermes.requests import cancel_run
from hermes.tables import Run, User
from hermes.transitions import note

AT_ONCE = 25  # in one transaction: others write meanwhile
_LOOK_S = 60.0  # at the rows, if nothing was due and no bell rang
_GLANCE_S = 10.0  # at the clock
_AGAIN_S = 3.0  # when the disk is full or the database away
_SHOWN_TWICE_S = 3 * 3600.0
_TABLE = Base.metadata.tables["schedule"]
_GOES_ON = _TABLE.c.paused_at.is_(None)
_DUE = (
    select(_TABLE.c.id, _TABLE.c.next_at)
    .where(_GOES_ON, _TABLE.c.next_at <= bindparam("now"))
    .order_by(_TABLE.c.next_at, _TABLE.c.id)
    .limit(AT_ONCE)
)
_NEXT = select(func.min(_TABLE.c.next_at)).where(_GOES_ON)
_ALL = select(_TABLE.c.id, _TABLE.c.cron, _TABLE.c.timezone, _TABLE.c.next_at, _TABLE.c.last_at).where(
    _GOES_ON
)
_PLAN = (
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("row"), _TABLE.c.next_at == bindparam("due"))
    .values(next_at=bindparam("following"))
)
_PUT_OFF = update(_TABLE).where(_TABLE.c.id == bindparam("row")).values(
    next_at=bindparam("following"), outcome=bindparam("words")
)  # fmt: skip


class Clock(Protocol):
    """What time it is, and how to wait."""

    def now(self) -> float:
        """Unix seconds."""

    async def wait(self, bell: Bell, timeout_s: float) -> bool:
        """Whether it rang within the time."""


class WallClock:
    """That of this machine."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    async def wait(self, bell: Bell, timeout_s: float) -> bool:
        """Whether it rang within the time."""
        return await bell.wait(timeout_s)


class Firing:
    """One process's; there may be several."""

    def __init__(self, context: Context, clock: Clock) -> None:
        self._context, self._database, self._clock = context, context.database, clock
        self.next_at = self._looked_at = float("-inf")
        self._seen_at = float("inf")  # so that all is planned at first

    async def turn(self, rang: bool) -> float:
        """Do what is due; how long to wait then. Raises Unavailable."""
        now = self._clock.now()
        if now < self._seen_at - 1.0:
            await self._plan_anew(now)
            rang = True
        self._seen_at = now
        if not rang and now < min(self.next_at, self._looked_at + _LOOK_S):
            return self._wait_s(now)
        if self._context.room.trouble():  # nothing is claimed that could not be taken
            return _AGAIN_S
        while due := await self._database.read_at_once(lambda ask: [Due(*row) for row in ask(_DUE, now=now)]):
            await self._fire_all(due, now)
        self.next_at = await self._database.read_at_once(lambda ask: ask(_NEXT)[0][0]) or float("inf")
        self._looked_at = now
        return self._wait_s(self._clock.now())

    def _wait_s(self, now: float) -> float:
        return min(max(self.next_at - now, 0.0), self._looked_at + _LOOK_S - now, _GLANCE_S)

    async def _fire_all(self, due: list[Due], now: float) -> None:
        faultpoint("schedule.due")
        settings = self._context.settings

        def work(ask: Ask) -> list[Fired]:
            return [fire(ask, settings, each, now) for each in due]

        try:
            came = await self._database.write_at_once(work)
            for each, fired in zip(due, came, strict=True):
                if fired.is_later:
                    await self._fire_later(each, now)
        except Unavailable:
            raise
        except Exception as error:  # the others must not wait for ever for one
            if len(due) == 1:
                await self._put_off(due[0], error, now)
                return
            for each in due:
                await self._fire_all([each], now)
        faultpoint("schedule.fired")
        await self._context.doorbell.ring(BUILDS, RANKS, CHANGED)

    async def _fire_later(self, due: Due, now: float) -> None:
        """Its image is to be made again, or the run before to be ended: in one transaction with the rest."""
        settings = self._context.settings
        async with self._database.write() as session:
            known = await session.run_sync(lambda plain: know(ask_in(plain), due.id))
            if known is None or known.next_at != due.at:
                return
            await make_usable(session, known)
            before = await session.run_sync(lambda plain: earlier(ask_in(plain), known))
            if before and known.overlap == "cancel":
                run, user = await session.get_one(Run, before), await session.get_one(User, known.user_id)
                note(
                    session,
                    "run",
                    run.id,
                    (run.state, run.state),
                    "its schedule is due again: cancelled for that",
                )
                await cancel_run(session, run, user)
            await session.flush()
            await session.run_sync(lambda plain: fire(ask_in(plain), settings, due, now))

    async def _put_off(self, due: Due, error: Exception, now: float) -> None:
        """A fault of ours: it is tried again, but not in a circle."""
        words = f"a fault of this service: {type(error).__name__}"
        log.error("schedule broke", id=due.id, error=repr(error))
        async with self._database.write() as session:
            values = {"row": due.id, "following": now + _LOOK_S, "words": words}
            await session.run_sync(lambda plain: ask_in(plain)(_PUT_OFF, **values))

    async def _plan_anew(self, now: float) -> None:
        """What is due too late, since the clock was ahead when it was planned, comes when it should."""
        rows = await self._database.read_at_once(lambda ask: ask(_ALL))
        late: list[tuple[int, float, float]] = []
        for schedule_id, cron, timezone, next_at, last_at in rows:
            shown = last_at if last_at and 0 < last_at - now <= _SHOWN_TWICE_S else now
            with suppress(NotCron, ZoneInfoNotFoundError):  # said when it is due
                if next_at > now and next_at > (following := next_time(cron, timezone, shown)):
                    late.append((schedule_id, next_at, following))
        if late:
            log.warning("schedules planned anew: the clock was set back", count=len(late))
            await self._database.write_at_once(
                lambda ask: [
                    ask(_PLAN, row=row, due=due, following=following) for row, due, following in late
                ]
            )


async def keep_firing(context: Context, clock: Clock | None = None) -> None:
    """For ever."""
    clock = clock or WallClock()
    firing, bell = Firing(context, clock), context.doorbell.bell(SCHEDULES, BUILDS)
    rang = True
    while True:
        try:
            wait_s = await firing.turn(rang)
        except Unavailable as error:
            log.warning("schedules not read", error=str(error))
            wait_s = _AGAIN_S
        rang = await clock.wait(bell, wait_s) or wait_s == _AGAIN_S
