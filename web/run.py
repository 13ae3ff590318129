"""`/runs/{n}` and `/builds/{n}`: one piece of work with everything that is known of it."""

from functools import partial
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes.instance import gpu_names
from hermes.removals import Data
from hermes.states import TERMINAL
from hermes.tables import Build, Event, Rank, Run, User
from hermes.threads import in_thread
from web.allranks import look_at_all
from web.charts import charts
from web.details import build_details
from web.environment import variables
from web.excerpt import excerpt
from web.layers import image_layers
from web.lookup import find_build, find_rank, find_run, subjects
from web.metrics import metrics_of_rank
from web.phases import Phase, long_waits, phases, with_reasons
from web.preview import gallery
from web.ranks import LETTERS, look_at_ranks
from web.runs import PAGE, run_details
from web.samples import read_samples
from web.site import Site, number, rank_asked
from web.waits import Wait, read_holds, stretches

_EVENTS = 200
_WAITS = 3  # the newest that are explained: each asks the database


async def _history(session: AsyncSession, run: Run, ranks: int, rank: Rank) -> list[Event]:
    """What happened to the run and to the rank that is shown. The only rank of a run tells more than the run,
    which follows it."""
    of_run = (Event.kind == "run") & (Event.subject_id == run.id)
    if ranks == 1:
        of_run &= or_(Event.from_state == "", Event.from_state == Event.to_state)
    of_rank = (Event.kind == "rank") & (Event.subject_id == rank.id)
    rows = await session.scalars(select(Event).where(of_run | of_rank).order_by(Event.id).limit(_EVENTS))
    return list(rows.all())


async def _telemetry(session: AsyncSession, rank: Rank) -> dict[str, Any]:
    samples = await read_samples(session, rank)
    return {"charts": charts(samples, await gpu_names(session)), "every": samples.every}


async def _life(
    session: AsyncSession, viewer: User | None, run: Run, rank: Rank, found: list[Phase], longest_s: float
) -> list[Phase]:
    """With what a long wait was for."""
    reasons = {}
    for phase in long_waits(found)[-_WAITS:]:
        wait = Wait(run.id, phase.began_at, phase.began_at + phase.span_s)
        holds, wait = await read_holds(session, viewer, run, rank, wait, longest_s)
        reasons[phase] = stretches(wait, holds)
    return with_reasons(found, reasons)


async def one_run(site: Site, request: Request) -> Response:
    """`/runs/{n}`"""
    user = await site.reader(request)
    settings = site.context.settings
    async with site.context.database.read() as session:
        run, place = await find_run(session, user, number(request.path_params, "run"))
        is_all = request.query_params.get("rank") == "all"
        rank = await find_rank(session, run.id, None if is_all else rank_asked(request.query_params))
        details = await run_details(session, user, run, place, PAGE)
        events = await _history(session, run, details.rank_count, rank)
        sha = details.build.commit_sha
        of_rank = [event for event in events if event.kind == "rank"]
        values: dict[str, Any] = {
            "events": events,
            "metrics": await metrics_of_rank(session, rank),
            "phases": await _life(
                session, user, run, rank, phases(rank, details.build, of_rank), settings.max_timeout
            ),
            "subject": (await subjects(session, {run.repo_id}, {sha})).get((run.repo_id, sha), ""),
            "ranks": await look_at_ranks(session, rank) if details.has_ranks else None,
            **await _telemetry(session, rank),
        }
    shown, log = None, None
    if details.rank_count > 1 and is_all and Data.LOGS not in details.removed:
        shown, log = await look_at_all(site, request)
    return site.page(
        request,
        "run.html",
        shown=shown,
        details=details,
        rank=rank,
        letters=LETTERS,
        variables=variables(details.plan, run, rank, sha, settings.public_url),
        secrets=rank.secrets or [] if details.may_write else [],
        log=log or await excerpt(site, rank, details.removed),
        gallery=await gallery(site, details),
        **values,
    )


async def charts_of_run(site: Site, request: Request) -> Response:
    """`/runs/{n}/charts?rank=`: only them, for a page that renews them."""
    user = await site.reader(request)
    async with site.context.database.read() as session:
        run, _place = await find_run(session, user, number(request.path_params, "run"))
        rank = await find_rank(session, run.id, rank_asked(request.query_params))
        values = await _telemetry(session, rank)
    return site.page(request, "charts.html", is_over=rank.state in TERMINAL, **values)


async def one_build(site: Site, request: Request) -> Response:
    """`/builds/{n}`"""
    user = await site.reader(request)
    async with site.context.database.read() as session:
        build, place = await find_build(session, user, number(request.path_params, "build"))
        history = select(Event).where(Event.kind == "build", Event.subject_id == build.id)
        runs = select(Run).where(Run.build_id == build.id).order_by(Run.id.desc()).limit(_EVENTS)
        details = await build_details(session, user, build, place)
        values: dict[str, Any] = {
            "details": details,
            "events": (await session.scalars(history.order_by(Event.id).limit(_EVENTS))).all(),
            "runs": (await session.scalars(runs)).all(),
            "subject": await _subject(session, build),
            "layers": await in_thread(image_layers, site.context.paths, build, details.image_removed),
        }
    return site.page(request, "build.html", log=await excerpt(site, build, details.removed), **values)


def routes(site: Site) -> list[Route]:
    """Who may see a repo."""
    return [
        Route("/runs/{run}", partial(one_run, site)),
        Route("/runs/{run}/charts", partial(charts_of_run, site)),
        Route("/builds/{build}", partial(one_build, site)),
    ]


async def _subject(session: AsyncSession, build: Build) -> str:
    found = await subjects(session, {build.repo_id}, {build.commit_sha})
    return found.get((build.repo_id, build.commit_sha), "")
