"""`/{owner}/{repo}`: how to push there, and what every pushed commit became."""

from dataclasses import dataclass
from functools import partial

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.errors import NotFound
from hermes.repos import get_readable, may_manage, may_write
from hermes.states import TERMINAL
from hermes.tables import Build, Push, Repo, Run, User
from web.addresses import addresses
from web.site import Site, number

_SHOWN = 50


@dataclass(frozen=True)
class Pushed:
    """One push with the newest build of its commit and the run that it started."""

    push: Push
    user: str
    build: Build | None
    run: Run | None

    @property
    def is_delete(self) -> bool:
        """Whether it took a branch away."""
        return set(self.push.new_sha) == {"0"}


async def _pushes(session: AsyncSession, repo: Repo, before: int) -> list[Pushed]:
    found = select(Push, User.name).join(User, User.id == Push.user_id)
    found = found.where(Push.repo_id == repo.id, Push.state == "applied")
    if before:
        found = found.where(Push.id < before)
    rows = (await session.execute(found.order_by(Push.id.desc()).limit(_SHOWN))).all()
    shas = {push.new_sha for push, _ in rows}
    by_commit = select(Build).where(Build.repo_id == repo.id, Build.commit_sha.in_(shas)).order_by(Build.id)
    builds = {build.commit_sha: build for build in (await session.scalars(by_commit)).all()}
    by_build = select(Run).where(Run.build_id.in_([each.id for each in builds.values()])).order_by(Run.id)
    runs = {run.build_id: run for run in (await session.scalars(by_build)).all()}
    made = []
    for push, user in rows:
        build = builds.get(push.new_sha) if push.plan is not None else None
        made.append(Pushed(push, user, build, runs.get(build.id) if build else None))
    return made


async def repository(site: Site, request: Request) -> Response:
    """The page."""
    owner, name = request.path_params["owner"], request.path_params["repo"]
    user = await site.reader(request)
    if name.endswith(".git"):  # the clone URL, opened in a browser
        return RedirectResponse(f"/{owner}/{name.removesuffix('.git')}")
    async with site.context.database.read() as session:
        repo = await get_readable(session, user, owner, name)
        before = number(request.query_params, "before")
        pushed = await _pushes(session, repo, before)
        writes = user is not None and await may_write(session, user, repo)
        of_repo = select(func.count(Run.id)).where(Run.repo_id == repo.id)
        live = await session.scalar(of_repo.where(Run.state.not_in(TERMINAL))) or 0
    return site.page(
        request,
        "repository.html",
        owner=owner,
        repo=repo,
        pushed=pushed,
        writes=writes,
        manages=user is not None and may_manage(user, repo),
        addresses=addresses(site.context.settings, user, f"{owner}/{name}"),
        live=live,
        older=pushed[-1].push.id if len(pushed) == _SHOWN else 0,
        before=before,
    )


async def latest(site: Site, request: Request) -> Response:
    """The newest commit that was built."""
    owner, name = request.path_params["owner"], request.path_params["repo"]
    user = await site.reader(request)
    async with site.context.database.read() as session:
        repo = await get_readable(session, user, owner, name)
        newest = select(Push.new_sha).where(
            Push.repo_id == repo.id, Push.state == "applied", Push.plan.is_not(None)
        )
        sha = await session.scalar(newest.order_by(Push.id.desc()).limit(1))
    if sha is None:
        raise NotFound(f"nothing was built in {owner}/{name} yet", "git push gpu main")
    return RedirectResponse(f"/{owner}/{name}/commit/{sha}", 302)


def routes(site: Site) -> list[Route]:
    """Who may see a repo."""
    return [
        Route("/{owner}/{repo}", partial(repository, site)),
        Route("/{owner}/{repo}/latest", partial(latest, site)),
    ]
