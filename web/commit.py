"""`/{owner}/{repo}/commit/{sha}`: all that came of one commit. The page to send to a colleague."""

import re
from dataclasses import dataclass
from functools import partial

from sqlalchemy import select, union
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.errors import NotFound, UserError
from hermes.repos import get_readable
from hermes.tables import Build, Push, Repo, Run, User
from hermes.threads import in_thread
from web.comparison import Comparison, compare
from web.details import BuildDetails, RunDetails, build_details, pushes_of
from web.excerpt import excerpt
from web.layers import image_layers
from web.lookup import Place
from web.message import read_message
from web.newest import newest_of_builds
from web.preview import gallery
from web.runs import runs_details
from web.site import Site

_SHA = re.compile(r"[0-9a-f]{7,40}")
_RUNS, _BUILDS = 10, 5


async def full_sha(session: AsyncSession, repo: Repo, sha: str) -> str:
    """The pushed commit that a prefix means. Raises NotFound, or UserError when it means several."""
    if not _SHA.fullmatch(sha):
        raise NotFound("that is not the id of a commit", "use 7 to 40 of 0-9 a-f")
    if len(sha) == 40:
        return sha
    pushed, built = (
        select(column).where(table.repo_id == repo.id, column >= sha, column < f"{sha}g")  # an index has them
        for table, column in ((Push, Push.new_sha), (Build, Build.commit_sha))
    )
    pushed = pushed.where(Push.state == "applied")
    found = (await session.scalars(union(pushed, built).limit(2))).all()
    if not found:
        raise NotFound(f"no commit that was pushed begins with {sha}")
    if len(found) > 1:
        raise UserError(f"{sha} begins several commits", "use more of its id")
    return str(found[0])


async def commit(site: Site, request: Request) -> Response:
    """The page."""
    owner, name, asked = (request.path_params[key] for key in ("owner", "repo", "sha"))
    user = await site.reader(request)
    async with site.context.database.read() as session:
        repo = await get_readable(session, user, owner, name)
        sha = await full_sha(session, repo, asked.lower())
        if sha != asked:
            return RedirectResponse(f"/{owner}/{name}/commit/{sha}", 302)
        message = await in_thread(read_message, site.context.paths.repo(repo.id), sha)
        found = await _found(session, user, Place(repo, owner), sha, message.ancestors if message else [])
    if message is None and not found.pushes and not found.builds:
        raise NotFound(f"there is no commit {sha[:12]} in {owner}/{name}")
    newest = found.runs[:1]
    return site.page(
        request,
        "commit.html",
        place=Place(repo, owner),
        sha=sha,
        message=message,
        pushes=found.pushes,
        builds=found.builds,
        runs=found.runs,
        comparison=found.comparison,
        logs={run.run.id: await excerpt(site, run.ranks[0], run.removed) for run in newest},
        layers={
            each.build.id: await in_thread(image_layers, site.context.paths, each.build, each.image_removed)
            for each in found.builds
        },
        build_logs={each.build.id: await excerpt(site, each.build, each.removed) for each in found.builds},
        gallery=await gallery(site, newest[0]) if newest else None,
    )


@dataclass(frozen=True)
class _Found:
    """The rows of one commit, the newest first."""

    pushes: list[tuple[Push, str]]
    builds: list[BuildDetails]
    runs: list[RunDetails]
    comparison: Comparison | None


async def _found(
    session: AsyncSession, user: User | None, place: Place, sha: str, ancestors: list[str]
) -> _Found:
    repo = place.repo
    of_commit = select(Build).where(Build.repo_id == repo.id, Build.commit_sha == sha)
    built = sorted((await session.scalars(of_commit)).all(), key=lambda build: -build.id)
    ids = await newest_of_builds(session, [build.id for build in built], _RUNS)
    ran = await session.scalars(select(Run).where(Run.id.in_(ids)).order_by(Run.id.desc()))
    runs = await runs_details(session, user, ran.all(), {repo.id: place})
    return _Found(
        pushes=await pushes_of(session, repo.id, sha),
        builds=[await build_details(session, user, build, place) for build in built[:_BUILDS]],
        runs=runs,
        comparison=await compare(session, user, runs[0], repo, ancestors) if runs and ancestors else None,
    )


def routes(site: Site) -> list[Route]:
    """Who may see a repo."""
    return [Route("/{owner}/{repo}/commit/{sha}", partial(commit, site))]
