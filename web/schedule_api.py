"""`/api/v1/…/schedules`: when the runs of repositories begin by themselves; paused, resumed, started now."""

from typing import Annotated

from pydantic import BaseModel, Field
from sqlalchemy import select

from hermes.errors import NotFound
from hermes.repos import get_readable, visible_to
from hermes.schedules import Schedule
from hermes.tables import Repo, User
from web.endpoint import PREFIX, Asked, Endpoint, Id, Name
from web.lookup import Place
from web.rates import check_rate
from web.reading import Query
from web.schedules import ScheduleActs, Scheduled, schedules_of
from web.site import Site


class ScheduleAnswer(BaseModel):
    """One schedule; `number` is its place in the manifest, from 1. `outcome` says why nothing came of the
    time `last_at`; `paused` why it is paused, or is null. `args` null: those of the manifest's `run`."""

    repo: str
    number: int
    cron: str
    timezone: str
    overlap: str
    args: list[str] | None
    user: str  # whose runs they are: who pushed it
    upcoming: list[float]
    last_at: float | None
    last_run: int | None
    last_state: str | None
    outcome: str
    paused: str | None
    paused_at: float | None
    url: str


class ScheduleList(BaseModel):
    """All of one repository."""

    schedules: list[ScheduleAnswer]


class SchedulePage(BaseModel):
    """Schedules of several; `next` is the address of the following ones."""

    schedules: list[ScheduleAnswer]
    next: str | None


class SchedulesQuery(Query):
    """A page of them; `limit` repositories, with all that each has."""

    limit: Annotated[int, Field(ge=1, le=100, description="of how many repositories")] = 100
    after: Annotated[int, Field(ge=0, le=1 << 53, description="only of repositories after this one")] = 0


class Started(BaseModel):
    """The run that was queued."""

    run: int
    url: str


class SchedulesApi:
    """The handlers."""

    def __init__(self, site: Site) -> None:
        self._site, self._acts = site, ScheduleActs(site.context)
        self._database, self._base = site.context.database, site.context.settings.public_url

    def _answer(self, each: Scheduled) -> ScheduleAnswer:
        row = each.row
        return ScheduleAnswer(
            repo=each.place.name,
            number=row.position,
            cron=row.cron,
            timezone=row.timezone,
            overlap=row.overlap,
            args=row.args,
            user=each.user,
            upcoming=list(each.upcoming),
            last_at=row.last_at,
            last_run=row.last_run_id,
            last_state=None if each.run is None else each.run.state,
            outcome=row.outcome,
            paused=None if row.paused_at is None else each.why_paused,
            paused_at=row.paused_at,
            url=f"{self._base}/{each.place.name}#schedules",
        )

    async def list_schedules(self, asked: Asked, query: SchedulesQuery) -> SchedulePage:
        """The schedules of all repositories that you may see, by repository."""
        some = select(Schedule.repo_id)
        found = select(Repo, User.name).join(User, User.id == Repo.owner_id)
        found = found.where(visible_to(asked.user), Repo.id > query.after, Repo.id.in_(some)).order_by(
            Repo.id
        )
        async with self._database.read() as session:
            rows = (await session.execute(found.limit(query.limit + 1))).all()
            places = [Place(repo, owner) for repo, owner in rows[: query.limit]]
            answers = [self._answer(each) for each in await schedules_of(session, places)]
        address = f"{self._base}{PREFIX}/schedules"
        more = query.following(address, after=places[-1].repo.id) if len(rows) > query.limit else None
        return SchedulePage(schedules=answers, next=more)

    async def list_repo_schedules(self, asked: Asked, owner: Name, repo: Name) -> ScheduleList:
        """The schedules of a repository, as its manifest has them."""
        async with self._database.read() as session:
            place = Place(await get_readable(session, asked.user, owner, repo), owner)
            found = await schedules_of(session, [place])
        return ScheduleList(schedules=[self._answer(each) for each in found])

    async def _one(self, asked: Asked, owner: str, repo: str, number: int) -> ScheduleAnswer:
        for each in (await self.list_repo_schedules(asked, owner, repo)).schedules:
            if each.number == number:
                return each
        raise NotFound(f"{owner}/{repo} has no schedule {number} any more", "somebody has just pushed")

    async def pause_schedule(self, asked: Asked, owner: Name, repo: Name, number: Id) -> ScheduleAnswer:
        """Pause a schedule: it does not run until it is resumed, also after pushes that leave it as it is."""
        await self._acts.pause(asked.by, asked.user, (owner, repo), number)
        return await self._one(asked, owner, repo, number)

    async def resume_schedule(self, asked: Asked, owner: Name, repo: Name, number: Id) -> ScheduleAnswer:
        """Resume a schedule: it runs from its next time on; what would have come meanwhile does not come."""
        await self._acts.resume(asked.by, asked.user, (owner, repo), number)
        return await self._one(asked, owner, repo, number)

    async def run_schedule(self, asked: Asked, owner: Name, repo: Name, number: Id) -> Started:
        """Start a run of a schedule now, besides its times; it is yours."""
        check_rate(self._site, asked.user)
        run_id = await self._acts.start(asked.user, (owner, repo), number)
        return Started(run=run_id, url=f"{self._base}/runs/{run_id}")


def endpoints(site: Site) -> list[Endpoint]:
    """In the order of the documents."""
    api, all_ = SchedulesApi(site), "/repos/{owner}/{repo}/schedules"
    one = f"{all_}/{{number}}"
    return [
        Endpoint("GET", "/schedules", api.list_schedules),
        Endpoint("GET", all_, api.list_repo_schedules),
        Endpoint("POST", f"{one}/pause", api.pause_schedule, errors=(403,)),
        Endpoint("POST", f"{one}/resume", api.resume_schedule, errors=(403,)),
        Endpoint("POST", f"{one}/run", api.run_schedule, 201, errors=(403, 429), location="/runs/{run}"),
    ]
