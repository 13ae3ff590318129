"""`/runs/{n}` and `/builds/{n}`: one piece of work with everything that is known of it."""

from functools import partial
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes.instance import gpu_names
from hermes.tables import Build, Event, Run
from web.charts import charts
from web.details import RunDetails, build_details
from web.excerpt import excerpt
from web.lookup import find_build, find_rank, find_run, subjects
from web.metrics import metrics_of_rank
from web.preview import gallery
from web.runs import run_details
from web.site import Site, number

_EVENTS = 200


async def _history(session: AsyncSession, details: RunDetails) -> list[Event]:
    """What happened. The rank of a run that has only one tells more than the run, which follows it."""
    run_id = details.run.id
    of_run = (Event.kind == "run") & (Event.subject_id == run_id)
    if details.rank_count == 1:
        asked = of_run & or_(Event.from_state == "", Event.from_state == Event.to_state)
        of_run = asked | (Event.kind == "rank") & (Event.subject_id == details.ranks[0].id)
    rows = await session.scalars(select(Event).where(of_run).order_by(Event.id).limit(_EVENTS))
    return list(rows.all())


async def one_run(site: Site, request: Request) -> Response:
    """`/runs/{n}`"""
    user = await site.reader(request)
    async with site.context.database.read() as session:
        run, place = await find_run(session, user, number(request.path_params, "run"))
        rank = await find_rank(session, run.id, number(request.query_params, "rank"))
        details = await run_details(session, user, run, place)
        sha = details.build.commit_sha
        values: dict[str, Any] = {
            "events": await _history(session, details),
            "metrics": await metrics_of_rank(session, rank),
            "charts": await charts(session, rank, await gpu_names(session)),
            "subject": (await subjects(session, {run.repo_id}, {sha})).get((run.repo_id, sha), ""),
        }
    return site.page(
        request,
        "run.html",
        details=details,
        rank=rank,
        shown_ranks=details.ranks,
        log=await excerpt(site, rank),
        gallery=await gallery(site, details),
        **values,
    )


async def one_build(site: Site, request: Request) -> Response:
    """`/builds/{n}`"""
    user = await site.reader(request)
    async with site.context.database.read() as session:
        build, place = await find_build(session, user, number(request.path_params, "build"))
        history = select(Event).where(Event.kind == "build", Event.subject_id == build.id)
        runs = select(Run).where(Run.build_id == build.id).order_by(Run.id.desc()).limit(_EVENTS)
        values: dict[str, Any] = {
            "details": await build_details(session, user, build, place),
            "events": (await session.scalars(history.order_by(Event.id).limit(_EVENTS))).all(),
            "runs": (await session.scalars(runs)).all(),
            "subject": await _subject(session, build),
        }
    return site.page(request, "build.html", log=await excerpt(site, build), **values)


def routes(site: Site) -> list[Route]:
    """Who may see a repo."""
    return [Route("/runs/{run}", partial(one_run, site)), Route("/builds/{build}", partial(one_build, site))]


async def _subject(session: AsyncSession, build: Build) -> str:
    found = await subjects(session, {build.repo_id}, {build.commit_sha})
    return found.get((build.repo_id, build.commit_sha), "")
