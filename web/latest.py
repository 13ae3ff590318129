"""`/{owner}/{repo}/latest…`: addresses that stay, and lead to what is the newest when they are asked for."""

from functools import partial
from urllib.parse import urlencode

from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hermes.errors import NotFound
from hermes.removals import Data, is_removed
from hermes.repos import get_readable
from hermes.states import State
from hermes.tables import Artifact
from web.files import artifact_url
from web.history import Pushed, history, newest_built
from web.site import Site

_LOOKED_AT = 50  # pushes, for one whose run has left the file


async def _newest(site: Site, request: Request) -> Pushed:
    """Of the branch that is asked for. Raises SignInNeeded, NotFound."""
    owner, name = request.path_params["owner"], request.path_params["repo"]
    branch, path = request.query_params.get("branch", ""), f"{owner}/{name}"
    user = await site.reader(request)
    async with site.context.database.read() as session:
        newest = await newest_built(session, await get_readable(session, user, owner, name), branch)
    if newest is None:
        where = f"branch {branch[:80]!r} of {path}" if branch else path
        raise NotFound(f"nothing was built in {where} yet", f"git push gpu {branch[:80] or 'main'}")
    return newest


def _passed_on(request: Request) -> str:
    """What else was asked for: `follow=1`, `rank=3`, `inline=1`."""
    rest = [(key, value) for key, value in request.query_params.multi_items() if key != "branch"]
    return f"?{urlencode(rest)}" if rest else ""


async def commit(site: Site, request: Request) -> Response:
    """The newest commit that was built."""
    newest = await _newest(site, request)
    owner, name = request.path_params["owner"], request.path_params["repo"]
    return RedirectResponse(f"/{owner}/{name}/commit/{newest.sha}", 302)


async def log(site: Site, request: Request) -> Response:
    """What its run printed; its build, if that made nothing to run."""
    newest = await _newest(site, request)
    build, run = newest.build, newest.run
    if run is None or (build is not None and build.state is not State.BUILT):
        assert build is not None  # else it was not the newest
        return RedirectResponse(f"/builds/{build.id}/log{_passed_on(request)}", 302)
    return RedirectResponse(f"/runs/{run.id}/log{_passed_on(request)}", 302)


async def artifact(site: Site, request: Request) -> Response:
    """The file as the newest run left it that has one of this name; of several ranks, the first one's."""
    owner, name, path = (request.path_params[key] for key in ("owner", "repo", "path"))
    user = await site.reader(request)
    branch = request.query_params.get("branch", "")
    async with site.context.database.read() as session:
        repo = await get_readable(session, user, owner, name)
        runs = [each.run.id for each in await history(session, repo, _LOOKED_AT, branch) if each.run]
        of_runs = select(Artifact).where(Artifact.run_id.in_(runs), Artifact.path == path)
        newest = is_removed(Data.ARTIFACTS, Artifact.run_id), Artifact.run_id.desc(), Artifact.rank_id
        found = (
            await session.scalars(of_runs.order_by(*newest).limit(1))
        ).first()  # of those there are, first
    if found is None:
        raise NotFound(f"no run of the last {_LOOKED_AT} pushes has left an artifact {path[:200]!r}")
    return RedirectResponse(artifact_url(found) + _passed_on(request), 302)


def routes(site: Site) -> list[Route]:
    """Who may see a repo."""
    base = "/{owner}/{repo}/latest"
    return [
        Route(base, partial(commit, site)),
        Route(f"{base}/log", partial(log, site)),
        Route(f"{base}/artifacts/{{path:path}}", partial(artifact, site)),
    ]
