"""The schedules of repositories: when they come next, what came of the last, and the buttons beside them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.audit import Actor, write_down
from hermes.cron import NotCron, next_time
from hermes.errors import NotFound, Refused
from hermes.firing import start_now
from hermes.process import Context
from hermes.queue import BUILDS, CHANGED, RANKS, SCHEDULES
from hermes.repos import get_readable, may_write
from hermes.schedules import Schedule, pause, resume
from hermes.tables import Run, User
from web.actions import NOT_YOURS
from web.history import Did
from web.lookup import Place
from web.rates import check_rate
from web.site import Site, number
from web.visitor import actor

UPCOMING = 3


@dataclass(frozen=True)
class Scheduled:
    """One, with what belongs to it; `upcoming`: if it is not paused."""

    row: Schedule
    place: Place
    user: str
    run: Did | None
    upcoming: tuple[float, ...]

    @property
    def why_paused(self) -> str:
        """`paused by alice`, or what keeps it from running."""
        return self.row.paused_why or f"paused by {self.row.paused_by}"


def _upcoming(row: Schedule) -> tuple[float, ...]:
    if row.paused_at is not None:
        return ()
    found = [row.next_at]
    try:
        while len(found) < UPCOMING:
            found.append(next_time(row.cron, row.timezone, found[-1]))
    except (NotCron, KeyError):  # of a zone that this machine does not know: its next firing says so
        pass
    return tuple(found)


async def schedules_of(session: AsyncSession, places: Sequence[Place]) -> list[Scheduled]:
    """Of these repositories, in the order of their manifests."""
    by_repo = {place.repo.id: place for place in places}
    found = await session.execute(
        select(Schedule, User.name, Run)
        .join(User, User.id == Schedule.user_id)
        .join(Run, Run.id == Schedule.last_run_id, isouter=True)
        .options(load_only(Run.id, Run.state, Run.reason, Run.started_at, Run.ended_at))
        .where(Schedule.repo_id.in_(by_repo))
        .order_by(Schedule.repo_id, Schedule.position)
    )
    return [
        Scheduled(row, by_repo[row.repo_id], user, _did(run) if run else None, _upcoming(row))
        for row, user, run in found.all()
    ]


def _did(run: Run) -> Did:
    return Did(run.id, run.state, run.reason, run.started_at, run.ended_at)


@dataclass(frozen=True)
class ScheduleActs:
    """Each checks what the user may do, writes one transaction and rings."""

    context: Context

    async def pause(self, by: Actor, user: User, name: tuple[str, str], position: int) -> None:
        """It does not run until it is resumed. Raises NotFound, Refused."""
        async with self.context.database.write() as session:
            row = await self._mine(session, user, name, position)
            if pause(row, user.name, time.time()):
                write_down(session, by, "schedule paused", "/".join(name), row.cron)
        await self.context.doorbell.ring(SCHEDULES, CHANGED)

    async def resume(self, by: Actor, user: User, name: tuple[str, str], position: int) -> None:
        """It runs from its next time on. Raises NotFound, Refused."""
        async with self.context.database.write() as session:
            row = await self._mine(session, user, name, position)
            if resume(row, time.time()):
                write_down(session, by, "schedule resumed", "/".join(name), row.cron)
        await self.context.doorbell.ring(SCHEDULES, CHANGED)

    async def start(self, user: User, name: tuple[str, str], position: int) -> int:
        """A run now, besides its times. Raises NotFound, Refused."""
        self.context.room.require()
        async with self.context.database.write() as session:
            row = await self._mine(session, user, name, position)
            run_id = await start_now(session, self.context.settings, row.id, user)
        await self.context.doorbell.ring(BUILDS, RANKS, CHANGED)
        return run_id

    async def _mine(
        self, session: AsyncSession, user: User, name: tuple[str, str], position: int
    ) -> Schedule:
        owner, _ = name
        repo = await get_readable(session, user, *name)
        if not await may_write(session, user, repo):
            raise Refused(NOT_YOURS, f"ask {owner} to make you a collaborator")
        found = select(Schedule).where(Schedule.repo_id == repo.id, Schedule.position == position)
        row = (await session.scalars(found.with_for_update())).first()
        if row is None:
            raise NotFound(f"{'/'.join(name)} has no schedule {position}", "its page lists those that it has")
        return row


def routes(site: Site) -> list[Route]:
    """The buttons, for who may push."""
    acts = ScheduleActs(site.context)

    async def act(request: Request) -> Response:
        user, path = await site.user(request), request.path_params
        name, position = (path["owner"], path["repo"]), number(path, "number")
        match path["act"]:
            case "pause":
                await acts.pause(actor(request, user), user, name, position)
            case "resume":
                await acts.resume(actor(request, user), user, name, position)
            case "run":
                check_rate(site, user)
                return RedirectResponse(f"/runs/{await acts.start(user, name, position)}", 303)
            case _:
                raise NotFound("a schedule can be paused, resumed and run")
        return RedirectResponse(f"/{name[0]}/{name[1]}#schedules", 303)

    return [Route("/{owner}/{repo}/schedules/{number}/{act}", act, methods=["POST"])]
