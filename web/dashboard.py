"""`/`: what a user's work does now, their repositories, and for a newcomer the first push, word for word."""

from typing import Any

from sqlalchemy import or_, select
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes.machines import machines
from hermes.repos import visible_to
from hermes.tables import Build, Collaborator, Repo, Run, User
from web.activity import build_lines, moving, run_lines
from web.site import Site

_RUNS, _BUILDS, _REPOS = 20, 8, 50


def routes(site: Site) -> list[Route]:
    """Everybody sees only what concerns them."""

    async def dashboard(request: Request) -> Response:
        user = await site.user(request)
        shared = select(Collaborator.repo_id).where(Collaborator.user_id == user.id)
        mine = select(Repo.id).where(or_(Repo.owner_id == user.id, Repo.id.in_(shared)))
        async with site.context.database.read() as session:
            runs = select(Run).join(Repo, Repo.id == Run.repo_id).where(visible_to(user))
            runs = runs.where(or_(Run.user_id == user.id, Run.repo_id.in_(mine)))
            newest_runs = await run_lines(session, runs.order_by(Run.id.desc()).limit(_RUNS))
            builds = select(Build).join(Repo, Repo.id == Build.repo_id).where(visible_to(user))
            builds = builds.where(or_(Build.user_id == user.id, Build.repo_id.in_(mine)))
            newest_builds = await build_lines(session, builds.order_by(Build.id.desc()).limit(_BUILDS))
            repos = await session.execute(
                select(Repo, User.name)
                .join(User, User.id == Repo.owner_id)
                .where(Repo.id.in_(mine))
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
