"""`/api/v1/runs…`: runs found, looked at, cancelled and run again; their logs, events and artifacts."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import ColumnElement, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from hermes.errors import NotFound
from hermes.removals import Data, removals_of
from hermes.tables import Artifact, Rank, Run, User
from web.actions import actions_of
from web.answers import ArtifactPage, RunAnswer, RunPage
from web.endpoint import PREFIX, Also, Asked, Endpoint, Id
from web.files import sent
from web.live import events_of
from web.log_query import BYTES, EVENTS, LOG, EventsQuery, LogQuery
from web.lookup import artifacts_by_rank, find_run, places
from web.rates import check_rate
from web.rawlog import log_of
from web.reading import Query
from web.run_search import RunsQuery, search_runs
from web.runs import WHOLE, run_details, runs_details
from web.shapes import artifact_answer, run_answer
from web.site import Site
from web.subjects import run_subject
from web.visitor import address as address_of
from web.wishes import AgainBody, tables_of

_Raw = Callable[[Request], Awaitable[Response]]


class ArtifactsQuery(Query):
    """A page of them, and of which rank."""

    rank: Annotated[int | None, Field(ge=0, le=9999, description="of this rank only")] = None
    limit: Annotated[int, Field(ge=1, le=1000, description="how many")] = 100
    after: Annotated[int, Field(ge=0, le=1 << 53, description="only artifacts after this one")] = 0


class RunsApi:
    """The handlers."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.database = site.context.database
        self.base = site.context.settings.public_url
        self.actions = actions_of(site)
        self._log, self._events = log_of(site, run_subject), events_of(site, run_subject)

    async def _answer(self, user: User, run_id: int) -> RunAnswer:
        async with self.database.read() as session:
            run, place = await find_run(session, user, run_id)
            return run_answer(await run_details(session, user, run, place, WHOLE), self.base)

    async def list_runs(self, asked: Asked, query: RunsQuery) -> RunPage:
        """Runs that you may see, the newest first."""
        async with self.database.read() as session:
            ids = await search_runs(session, asked.user, query)
            page = select(Run).where(Run.id.in_(ids[: query.limit])).order_by(Run.id.desc())
            found = (await session.scalars(page)).all()
            where = await places(session, {run.repo_id for run in found})
            details = await runs_details(session, asked.user, found, where)
        more = len(ids) > query.limit
        address = f"{self.base}{PREFIX}/runs"
        following = query.following(address, before=found[-1].id) if more else None
        return RunPage(runs=[run_answer(each, self.base) for each in details], next=following)

    async def get_run(self, asked: Asked, run: Id) -> RunAnswer:
        """One run, with everything that is known of it."""
        return await self._answer(asked.user, run)

    async def cancel_run(self, asked: Asked, run: Id) -> RunAnswer:
        """Ask for the end of a run.

        What is over stays as it is. It needs the right to push."""
        await self.actions.cancel_run(asked.user, run, address_of(asked.request))
        return await self._answer(asked.user, run)

    async def keep_run(self, asked: Asked, run: Id) -> RunAnswer:
        """Keep what a run left: retention never takes its logs, artifacts, input and results.

        It needs the right to push."""
        await self.actions.keep_run(asked.user, run, address_of(asked.request))
        return await self._answer(asked.user, run)

    async def unkeep_run(self, asked: Asked, run: Id) -> RunAnswer:
        """Keep it no longer: what is old goes.

        It needs the right to push."""
        await self.actions.release_run(asked.user, run, address_of(asked.request))
        return await self._answer(asked.user, run)

    async def run_again(self, asked: Asked, run: Id, body: Annotated[dict[str, Any], AgainBody]) -> RunAnswer:
        """A new run of the same build, with other values if the body names some.

        What it leaves out is as in the run before. It needs the right to push; in a public repository an
        account is enough."""
        values = tables_of(body)
        async with self.database.read() as session:
            await find_run(session, asked.user, run)  # what is not there is not counted
        check_rate(self.site, asked.user)
        return await self._answer(asked.user, (await self.actions.run_again(asked.user, run, values)).id)

    async def get_run_log(self, asked: Asked, run: Id, query: LogQuery) -> Response:
        """What a rank printed, byte for byte, as far as it has come.

        One `Range` is understood; all of it comes compressed to who accepts gzip."""
        return await self._log(asked.request)

    async def get_run_events(self, asked: Asked, run: Id, query: EventsQuery) -> Response:
        """What happens to a run, as it happens: its states, and its log.

        `Last-Event-ID` resumes at the byte."""
        return await self._events(asked.request)

    async def list_artifacts(self, asked: Asked, run: Id, query: ArtifactsQuery) -> ArtifactPage:
        """The files that a run left, a page at a time: by rank and path."""
        wanted = artifacts_by_rank().where(Artifact.run_id == run)
        if query.rank is not None:
            wanted = wanted.where(Rank.number == query.rank)
        async with self.database.read() as session:
            await find_run(session, asked.user, run)
            if query.after:
                wanted = wanted.where(
                    tuple_(Rank.number, Artifact.path) > await _place(session, run, query.after)
                )
            rows = (await session.execute(wanted.limit(query.limit + 1))).all()
            gone = (await removals_of(session, (Data.ARTIFACTS,), run)).get(Data.ARTIFACTS)
        shown, more = rows[: query.limit], len(rows) > query.limit
        address = f"{self.base}{PREFIX}/runs/{run}/artifacts"
        following = query.following(address, after=shown[-1][0].id) if more else None
        answers = [artifact_answer(artifact, number, self.base, gone) for artifact, number in shown]
        return ArtifactPage(artifacts=answers, next=following)

    async def get_artifact(
        self, asked: Asked, run: Id, rank: Annotated[int, Field(ge=0, le=9999)], path: str
    ) -> Response:
        """The bytes of one file that a rank left.

        One `Range` is sent; `ETag` is the SHA-256."""
        async with self.database.read() as session:
            await find_run(session, asked.user, run)
            named = select(Artifact).join(Rank, Rank.id == Artifact.rank_id)
            named = named.where(Artifact.run_id == run, Rank.number == rank, Artifact.path == path)
            artifact = await session.scalar(named)
        if artifact is None:
            raise NotFound(
                f"rank {rank} of run {run} left no file {path[:200]!r}", f"GET {PREFIX}/runs/{run}/artifacts"
            )
        return await sent(self.site, asked.request, artifact)


async def _place(session: AsyncSession, run_id: int, artifact_id: int) -> "ColumnElement[Any]":
    """Of an artifact in the list of its run. Raises NotFound."""
    found = select(Rank.number, Artifact.path).join(Rank, Rank.id == Artifact.rank_id)
    row = (await session.execute(found.where(Artifact.id == artifact_id, Artifact.run_id == run_id))).first()
    if row is None:
        raise NotFound(f"run {run_id} has no artifact {artifact_id} to go on after")
    return tuple_(literal(row[0]), literal(row[1]))


def endpoints(site: Site) -> list[Endpoint]:
    """In the order of the documents."""
    api, one = RunsApi(site), "/runs/{run}"
    ranged = {206: Also("the range that was asked for", content=LOG)}
    return [
        Endpoint("GET", "/runs", api.list_runs),
        Endpoint("GET", one, api.get_run),
        Endpoint("POST", f"{one}/cancel", api.cancel_run, 202, (403,)),
        Endpoint("POST", f"{one}/keep", api.keep_run, errors=(403,)),
        Endpoint("POST", f"{one}/unkeep", api.unkeep_run, errors=(403,)),
        Endpoint("POST", f"{one}/again", api.run_again, 201, (403,), "/runs/{id}"),
        Endpoint("GET", f"{one}/log", api.get_run_log, errors=(416,), content=LOG, others=ranged),
        Endpoint("GET", f"{one}/events", api.get_run_events, content=EVENTS),
        Endpoint("GET", f"{one}/artifacts", api.list_artifacts),
        Endpoint(
            "GET",
            f"{one}/artifacts/{{rank}}/{{path:path}}",
            api.get_artifact,
            errors=(416,),
            content=BYTES,
            others={
                206: Also("the range that was asked for", content=BYTES),
                304: Also("you have it already"),
            },
        ),
    ]
