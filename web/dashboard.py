"""`/`: what a user's work does now and what came of it, and for a newcomer the first push, word for word."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes.machines import machines
from web import overview
from web.activity import moving
from web.files import artifact_url
from web.site import Site


def routes(site: Site) -> list[Route]:
    """Everybody sees only what concerns them."""

    async def dashboard(request: Request) -> Response:
        user = await site.user(request)
        async with site.context.database.read() as session:
            now = await overview.current(session, user)
            builds = await overview.builds(session, user)
            values: dict[str, Any] = {
                "now": now,
                "results": await overview.results(session, user),
                "builds": builds,
                "repos": await overview.standings(session, user),
                "machines": await machines(session, user),
            }
        is_moving = moving([line for line, _ in now] + builds)
        return site.page(request, "dashboard.html", moving=is_moving, artifact_url=artifact_url, **values)

    return [Route("/", dashboard)]
