"""`/gpus`: who holds what, who waits, and why."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes.machines import machines, queue
from web.site import Site


def routes(site: Site) -> list[Route]:
    """Every user: names of repos that they may not see are left out."""

    async def gpus(request: Request) -> Response:
        user = await site.user(request)
        async with site.context.database.read() as session:
            found = await machines(session, user)
            waiting, total = await queue(session, user)
        return site.page(request, "gpus.html", machines=found, waiting=waiting, total=total)

    return [Route("/gpus", gpus)]
