"""`/`: what a user's work does now, their repositories, and for a newcomer the first push, word for word."""

from typing import Any

from sqlalchemy import or_, select
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes.machines import machines
from hermes.tables import Build, Collaborator, Repo, Run, User
from web.activity import build_lines, moving, run_lines
from web.newest import newest_for
from web.site import Site

_RUNS, _BUILDS, _REPOS = 20, 8, 50


def routes(site: Site) -> list[Route]:
    """Everybody sees only what concerns them."""

    async def dashboard(request: Request) -> Response:
        user = await site.user(request)
        shared = select(Collaborator.repo_id).where(Collaborator.user_id == user.id)
        of_mine = or_(Repo.owner_id == user.id, Repo.id.in_(shared))
        async with site.context.database.read() as session:
            runs = await newest_for(session, Run, user, of_mine, _RUNS)
            builds = await newest_for(session, Build, user, of_mine, _BUILDS)
            newest_runs, newest_builds = await run_lines(session, runs), await build_lines(session, builds)
            repos = await session.execute(
                select(Repo, User.name)
                .join(User, User.id == Repo.owner_id)
                .where(of_mine)
                .order_by(Repo.id.desc())
                .limit(_REPOS)
            )
            values: dict[str, Any] = {
                "runs": newest_runs,
                "builds": newest_builds,
                "repos": repos.all(),
                "machines": await machines(session, user),
            }
        return site.page(request, "dashboard.html", moving=moving(newest_runs + newest_builds), **values)

    return [Route("/", dashboard)]
