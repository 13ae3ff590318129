"""`/{owner}/{repo}/commit/{sha}`: all that came of one commit. The page to send to a colleague."""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dulwich.errors import NotGitRepository
from dulwich.objects import Commit
from dulwich.repo import Repo as GitRepo
from sqlalchemy import select, union
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.errors import NotFound, UserError
from hermes.repos import get_readable
from hermes.tables import Build, Push, Repo, Run
from hermes.threads import in_thread
from web.details import PAGE, build_details, pushes_of, run_details
from web.excerpt import excerpt
from web.files import artifact_url
from web.lookup import Place
from web.preview import previews
from web.site import Site

_SHA = re.compile(r"[0-9a-f]{7,40}")
_RUNS = 10
_MAX_MESSAGE = 20_000


@dataclass(frozen=True)
class Message:
    """What the commit itself says."""

    author: str
    authored_at: float
    subject: str
    body: str
    parents: list[str]


def read_message(path: Path, sha: str) -> Message | None:
    """From the repository; None if it does not have such a commit (any more)."""
    try:
        with GitRepo(str(path)) as git:
            commit = git[sha.encode()]
    except (KeyError, NotGitRepository, OSError, ValueError):
        return None
    if not isinstance(commit, Commit):
        return None
    text = commit.message.decode("utf-8", "replace").strip()[:_MAX_MESSAGE]
    subject, _, body = text.partition("\n")
    author = commit.author.decode("utf-8", "replace").partition("<")[0].strip()
    parents = [parent.decode() for parent in commit.parents]
    authored_at = min(max(float(commit.author_time), 0.0), 253_402_300_000.0)  # git takes any number
    return Message(author, authored_at, subject[:200], body.strip(), parents)


async def full_sha(session: AsyncSession, repo: Repo, sha: str) -> str:
    """The pushed commit that a prefix means. Raises NotFound, or UserError when it means several."""
    if not _SHA.fullmatch(sha):
        raise NotFound("that is not the id of a commit", "use 7 to 40 of 0-9 a-f")
    if len(sha) == 40:
        return sha
    pushed = select(Push.new_sha).where(
        Push.repo_id == repo.id, Push.state == "applied", Push.new_sha.startswith(sha)
    )
    built = select(Build.commit_sha).where(Build.repo_id == repo.id, Build.commit_sha.startswith(sha))
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
        place = Place(repo, owner)
        pushes = await pushes_of(session, repo.id, sha)
        of_commit = select(Build).where(Build.repo_id == repo.id, Build.commit_sha == sha)
        built = (await session.scalars(of_commit.order_by(Build.id.desc()))).all()
        builds = [await build_details(session, user, build, place) for build in built]
        ran = await session.scalars(
            select(Run)
            .where(Run.build_id.in_([build.id for build in built]))
            .order_by(Run.id.desc())
            .limit(_RUNS)
        )
        runs = [await run_details(session, user, run, place, PAGE) for run in ran.all()]
    message = await in_thread(read_message, site.context.paths.repo(repo.id), sha)
    if message is None and not pushes and not builds:
        raise NotFound(f"there is no commit {sha[:12]} in {owner}/{name}")
    logs = {run.run.id: await excerpt(site, run.ranks[0]) for run in runs}
    build_logs = {each.build.id: await excerpt(site, each.build) for each in builds}
    return site.page(
        request,
        "commit.html",
        place=place,
        sha=sha,
        message=message,
        pushes=pushes,
        builds=builds,
        runs=runs,
        logs=logs,
        build_logs=build_logs,
        previews={run.run.id: await previews(site.context.paths, run.artifacts) for run in runs},
        artifact_url=artifact_url,
    )


def routes(site: Site) -> list[Route]:
    """Who may see a repo."""
    return [Route("/{owner}/{repo}/commit/{sha}", partial(commit, site))]
