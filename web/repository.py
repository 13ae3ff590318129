"""`/{owner}/{repo}`: how to push there, what every pushed commit became, and how its figures went."""

from dataclasses import dataclass
from functools import partial

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.branches import list_branches
from hermes.errors import Unavailable
from hermes.repos import get_readable, may_manage, may_write
from hermes.states import LIVE, State
from hermes.tables import Repo, Run
from hermes.threads import in_thread
from hermes.upstreams import upstream_of
from web.addresses import addresses
from web.badge import badge_markdown
from web.history import Pushed, history, versions
from web.lookup import Place
from web.metrics import Measured, metrics_of
from web.schedules import schedules_of
from web.site import Site, number
from web.trend import Plot, commits, durations, metric_plots

_SHOWN, _VERSIONS, _BRANCHES = 50, 20, 200


@dataclass(frozen=True)
class Trends:
    """The figures of a branch, commit by commit: as plots, and for a table."""

    branch: str
    ran: list[Pushed]
    took: Plot | None
    plots: list[Plot]
    cells: dict[int, dict[str, Measured]]  # by run and name

    @property
    def names(self) -> list[str]:
        """Of the metrics that are shown."""
        return [plot.name for plot in self.plots]


async def _trends(session: AsyncSession, branch: str, pushes: list[Pushed]) -> Trends:
    ran = commits(pushes)
    found = await metrics_of(session, [each.run.id for each in ran if each.run])
    cells = {run_id: {each.name: each for each in several} for run_id, several in found.items()}
    return Trends(branch, ran, durations(ran), metric_plots(ran, lambda run_id: found.get(run_id, [])), cells)


async def _is_moving(session: AsyncSession, repo: Repo) -> bool:
    """Whether any of its runs may still change by itself."""
    live = select(Run.id).where(Run.repo_id == repo.id, Run.state.in_([State.QUEUED, *LIVE])).limit(1)
    return await session.scalar(live) is not None


async def _branches(site: Site, repo: Repo) -> list[str]:
    """Those that one can choose; a repository that git cannot read at the moment is shown all the same."""
    try:
        return (await in_thread(list_branches, site.context.paths.repo(repo.id)))[:_BRANCHES]
    except Unavailable:
        return []


async def repository(site: Site, request: Request) -> Response:
    """The page."""
    owner, name = request.path_params["owner"], request.path_params["repo"]
    user = await site.reader(request)
    if name.endswith(".git"):  # the clone URL, opened in a browser
        return RedirectResponse(f"/{owner}/{name.removesuffix('.git')}")
    branch, before = request.query_params.get("branch", ""), number(request.query_params, "before")
    async with site.context.database.read() as session:
        repo = await get_readable(session, user, owner, name)
        pushed = await history(session, repo, _SHOWN, branch, before)
        plotted, of_branch = branch or repo.default_branch, pushed
        if before or any(each.branch != plotted for each in pushed):
            of_branch = await history(session, repo, _SHOWN, plotted) if plotted else []
        trends = await _trends(session, plotted, of_branch)
        built = await versions(session, repo, _VERSIONS)
        writes = user is not None and await may_write(session, user, repo)
        moving = await _is_moving(session, repo)
        upstream = await upstream_of(session, repo.id) if writes else None
        timetable = await schedules_of(session, [Place(repo, owner)])
    return site.page(
        request,
        "repository.html",
        owner=owner,
        repo=repo,
        pushed=pushed,
        trends=trends,
        versions=built,
        branch=branch,
        branches=await _branches(site, repo),
        badge=badge_markdown(site.context.settings.public_url, f"{owner}/{name}", branch),
        writes=writes,
        upstream=upstream,
        manages=user is not None and may_manage(user, repo),
        addresses=addresses(site.context.settings, user, f"{owner}/{name}"),
        live=moving,
        timetable=timetable,
        older=pushed[-1].id if len(pushed) == _SHOWN else 0,
        before=before,
    )


def routes(site: Site) -> list[Route]:
    """Who may see a repo."""
    return [Route("/{owner}/{repo}", partial(repository, site))]
